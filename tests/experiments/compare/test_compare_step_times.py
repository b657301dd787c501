"""`--budget seconds`: times of steps measured in turns, and the number of steps that follows from them."""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gan.bench import turns
from gan.config.train_config import TrainConfig
from gan.errors import Diverged, UsageError, UserError
from gan.experiments.compare import experiment, step_times
from gan.experiments.compare.arms import equal_time_steps
from gan.experiments.compare.experiment import run_comparison
from gan.experiments.compare.options import build_plan, compare_command
from gan.experiments.compare.plan import ComparePlan
from gan.experiments.compare.step_times import measure_step_times
from gan.experiments.compare.summary import comparison_warnings
from tests.helpers.comparisons import RUN, SMALL, compare

SECONDS: dict[str, Any] = {**SMALL, "norms": ["sn", "msn"], "seeds": 1, "budget": "seconds"}


class Clock:
    """A clock that steps set forward, at a speed that changes with every turn."""

    def __init__(self) -> None:
        self.now = 0.0
        self.order: list[str] = []
        self.counts: dict[str, int] = {}

    def step(self, name: str, seconds: float) -> Callable[[], None]:
        def run() -> None:
            self.counts[name] = self.counts.get(name, 0) + 1
            if not self.order or self.order[-1] != name:
                self.order.append(name)
            self.now += seconds * (1 + 0.1 * len(self.order))

        return run


def test_times_are_ratios_of_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(turns.time, "perf_counter", lambda: clock.now)
    monkeypatch.setattr(step_times, "_ROUNDS", 4)
    config = TrainConfig()
    seconds = {"first": 0.01, "slow": 0.03, "fast": 0.005}
    threads = torch.get_num_threads()
    times = measure_step_times(
        [(name, config) for name in seconds],
        ("first", config),
        lambda name: clock.step(name, seconds[name]),
        jobs=2,
    )
    assert times["first"] == 1.0
    assert times["slow"] == pytest.approx(3.0, rel=0.15) and times["fast"] == pytest.approx(0.5, rel=0.15)
    assert clock.order[:6] == ["first", "slow", "first", "slow", "first", "slow"], "warm-up, then every other reversed"
    assert torch.get_num_threads() == threads


def test_two_trainings_are_in_memory_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(turns.time, "perf_counter", lambda: clock.now)
    monkeypatch.setattr(step_times, "_ROUNDS", 1)
    alive: weakref.WeakSet[Callable[[], None]] = weakref.WeakSet()
    most = []

    def build(name: str) -> Callable[[], None]:
        alive.add(step := clock.step(name, 0.5))
        most.append(len(alive))
        return step

    config = TrainConfig()
    measure_step_times([(name, config) for name in "abcd"], ("a", config), build)
    assert most == [1, 2, 2, 2]


def test_rare_penalties_have_their_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """With penalties in every 4th update of D and two updates in a step, turns are of two steps or more."""
    clock = Clock()
    monkeypatch.setattr(turns.time, "perf_counter", lambda: clock.now)
    monkeypatch.setattr(step_times, "_ROUNDS", 1)
    config = TrainConfig().replace({"r1": 0.1, "penalty_every": 4, "n_dis": 2})
    measure_step_times([("a", config)], ("b", TrainConfig()), lambda name: clock.step(name, 10.0))
    assert clock.counts == {"a": 4 + 2, "b": 4 + 1}


def test_an_arm_that_diverges_at_once_is_named() -> None:
    def diverging() -> None:
        raise Diverged("the loss of D is nan")

    with pytest.raises(UserError, match="--budget seconds: the time of a step of bad cannot be measured.*loss of D"):
        measure_step_times(
            [("bad", TrainConfig())],
            ("ok", TrainConfig()),
            lambda name: diverging if name == "bad" else lambda: None,
        )


@pytest.mark.parametrize(
    "steps, every, ratio, expected", [(1000, 100, 2.0, (500, 50)), (1000, 300, 3.0, (333, 84)), (4, 2, 9.0, (1, 1))]
)
def test_equal_time(steps: int, every: int, ratio: float, expected: tuple[int, int]) -> None:
    found = equal_time_steps(TrainConfig().replace({"steps": steps, "report_every": every}), ratio)
    assert (found["steps"], found["report_every"]) == expected
    if expected[0] > 1:
        assert -(-expected[0] // expected[1]) == -(-steps // every), "as many scores"


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Measurements find that all other arms take twice as long as the first; returns the arms of each measurement."""
    calls: list[list[str]] = []

    def measure(arms: Any, reference: Any, build: Any, *, jobs: Any) -> dict[str, float]:
        names = [name for name, _ in arms]
        calls.append([reference[0], *names])
        return {name: 1.0 if name == reference[0] else 2.0 for name in names}

    monkeypatch.setattr(experiment, "measure_step_times", measure)
    return calls


def test_the_first_measurement_holds(tmp_path: Path, measured: list[list[str]]) -> None:
    record = compare(tmp_path, **SECONDS)
    assert measured == [["sn", "sn", "msn"]]
    steps = {result["norm"]: result["curve"]["step"] for result in record["trainings"]}
    assert steps == {"sn": [2, 4], "msn": [1, 2]}
    assert record["config"]["step_times"] == {"sn": 1.0, "msn": 2.0}
    page = (tmp_path / RUN / "report.md").read_text()
    assert "| msn | msn | 2 | 16 | 2.00 |" in page and "the time of training, by measurement" in page
    compare(tmp_path, seeds=2)
    assert len(measured) == 1, "a resumed comparison keeps its times"
    compare(tmp_path, norms=["bn"])
    assert measured[1:] == [["sn", "bn"]], "a new arm is measured against the first"
    times = json.loads((tmp_path / RUN / "config.json").read_text())["config"]["step_times"]
    assert times == {"sn": 1.0, "msn": 2.0, "bn": 2.0}
    page = (tmp_path / RUN / "report.md").read_text()
    assert page.index("| bn | bn |") < page.index("| sn | sn |") and "as a multiple of that of sn" in page


def test_processes_of_one_comparison_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that writes config.json first decides, also for one that has measured other times meanwhile."""

    def only(cell: str) -> None:
        assert run_comparison("r", None, None, SECONDS, root=tmp_path, device="cpu", only=cell) is None

    def measure_while_another_does(*_: Any, **__: Any) -> dict[str, float]:
        monkeypatch.setattr(experiment, "measure_step_times", lambda *_, **__: {"sn": 1.0, "msn": 4.0})
        only("sn/0")
        return {"sn": 1.0, "msn": 2.0}

    monkeypatch.setattr(experiment, "measure_step_times", measure_while_another_does)
    only("msn/0")
    record = json.loads((tmp_path / RUN / "report.json").read_text())
    assert {result["norm"]: result["curve"]["step"][-1] for result in record["trainings"]} == {"sn": 4, "msn": 1}


def test_it_measures_real_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_times, "_SECONDS", 0.0)
    record = compare(tmp_path, **{**SECONDS, "norms": ["none", "gradnorm"]})
    times = record["config"]["step_times"]
    assert times["none"] == 1.0 and times["gradnorm"] > 0
    steps = {result["norm"]: result["final"]["step"] for result in record["trainings"]}
    assert steps == {"none": 4, "gradnorm": max(1, round(4 / times["gradnorm"]))}


def test_unequal_seconds_are_told(tmp_path: Path) -> None:
    plan = build_plan("r", None, None, SECONDS, None)
    done = [
        {
            **{"norm": norm, "setting": "", "seed": 0, "folder": norm, "missing": [], "grid": {}, "diverged": None},
            **{
                "final": {"fid": 1.0},
                "seconds": seconds,
                "start": dict.fromkeys(("generator", "discriminator", "inputs")),
            },
            **{"versions": {}, "runtime": {}, "curve": None},
        }
        for norm, seconds in (("sn", 10.0), ("msn", 12.0))
    ]
    (warning,) = comparison_warnings(done, plan)
    assert warning.startswith("Unequal time: trainings took sn 10.0 s, msn 12.0 s (medians)")
    done[1]["seconds"] = 10.9
    assert not comparison_warnings(done, plan)


@pytest.mark.parametrize(
    "given, message",
    [
        ({"tune": 2, "seeds": None}, "--budget seconds, --tune: the time of a step depends on n_dis"),
        ({"lr_grid": True}, "--budget seconds, --lr-grid: the time of a step"),
        (
            {"arms": {"a": {"steps": 3}}},
            "--arm a: --steps is set by --budget seconds, so that all arms train",
        ),
    ],
)
def test_refused(given: dict[str, Any], message: str) -> None:
    values = {key: value for key, value in {**SECONDS, **given}.items() if value is not None}
    arms = values.pop("arms", None)
    with pytest.raises(UsageError, match=message):
        build_plan("r", None, None, values, None, "cpu", arms)


def test_the_plan_survives_json_and_the_command_repeats_it() -> None:
    built = build_plan("r", None, None, SECONDS, None)
    plan = ComparePlan(built.compare, built.train, built.own_arms, {}, {"sn": 1.0, "msn": 1.5})
    assert ComparePlan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan
    assert "--budget seconds" in compare_command("r", plan)
    for key, wrong in (("step_times", 0), ("step_times", "x"), ("chosen", "t9")):
        with pytest.raises(UsageError, match=f"^{key}.sn: not of this comparison"):
            ComparePlan.from_dict({**plan.to_dict(), key: {"sn": wrong}})
