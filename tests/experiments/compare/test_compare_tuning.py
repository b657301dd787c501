"""Random search: the settings, best-of-k curves, the choice of the best setting, and its training with other seeds."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import quantile_test

from gan.errors import UsageError
from gan.experiments.compare import dry_run
from gan.experiments.compare.arms import images_of
from gan.experiments.compare.experiment import run_comparison
from gan.experiments.compare.options import build_plan, compare_command
from gan.experiments.compare.plan import ComparedTraining, ComparePlan
from gan.experiments.compare.rate_settings import RATES, random_setting, setting_names
from gan.experiments.compare.tuning import best_of_k, choose_settings
from gan.experiments.compare.tuning_report import tuning_tables
from gan.training.estimate import Estimate
from tests.helpers.comparisons import RUN, SMALL, compare, in_jobs, states
from tests.helpers.runs import plain_chart
from tests.helpers.states import same_bytes

TUNED: dict[str, Any] = {**SMALL, "steps": 10, "report_every": 10, "norms": ["sn", "msn"], "tune": 2, "then": 2}


def plan(existing: ComparePlan | None = None, arms: dict | None = None, **given: Any) -> ComparePlan:
    return build_plan("r", None, None, {**({} if existing else TUNED), **given}, existing, "cpu", arms)


def test_settings_stay_as_they_are() -> None:
    assert setting_names(3) == ("t1", "t2", "t3")
    assert random_setting("t1") == {"g_lr": 0.000341, "d_lr": 0.000173, "beta1": 0.48, "beta2": 0.9969, "n_dis": 5}
    assert random_setting("t3") == {"g_lr": 2.43e-05, "d_lr": 3.28e-05, "beta1": 0.78, "beta2": 0.9922, "n_dis": 1}


def test_an_arm_may_be_named_like_a_column() -> None:
    curve = [best_of_k([3.0], 1)._asdict()]
    arms = {name: {"fids": {"t1": fid}, "best": "t1", "curve": curve} for name, fid in (("Setting", 3.0), ("k", 4.0))}
    table = tuning_tables({"settings": {"t1": random_setting("t1")}, "arms": arms})[1]
    assert table.header[0] == "Random setting" and table.header[-2:] == ("Setting", "k")
    assert table.rows[0][0] == "t1" and table.rows[0][-2:] == ("3.00", "4.00")


def test_settings_fill_their_ranges() -> None:
    settings = [random_setting(name) for name in setting_names(400)]
    for key, low, high in (("g_lr", 2e-5, 2e-3), ("d_lr", 2e-5, 2e-3), ("beta1", 0.0, 0.9), ("beta2", 0.9, 0.999)):
        values = np.array([setting[key] for setting in settings])
        assert low <= values.min() and values.max() <= high
        scale = {"g_lr": np.log, "d_lr": np.log, "beta2": lambda x: -np.log(1 - x)}.get(key, lambda x: x)
        shares = (scale(values) - scale(low)) / (scale(high) - scale(low))
        assert abs(shares.mean() - 0.5) < 0.05 and abs(shares.std() - math.sqrt(1 / 12)) < 0.03
    assert 0.4 < np.mean([setting["n_dis"] == 5 for setting in settings]) < 0.6
    rates = np.log([[setting["g_lr"], setting["d_lr"]] for setting in settings])
    assert abs(np.corrcoef(rates.T)[0, 1]) < 0.15, "independent of each other"


@pytest.mark.parametrize("k", [1, 2, 5, 16])
def test_best_of_k_against_searches_and_scipy(k: int) -> None:
    """The estimate is the median of searches drawn with replacement; the interval that of scipy's quantile test."""
    rng = np.random.default_rng(3)
    fids = rng.lognormal(3.0, 0.5, 17)
    point = best_of_k(list(fids), k)
    searches = rng.choice(fids, (20_000, k)).min(axis=1)
    assert np.mean(searches <= point.median) > 0.49 and np.mean(searches < point.median) < 0.51
    interval = quantile_test(fids, p=1 - 2 ** (-1 / k)).confidence_interval(0.95)
    assert (point.low, point.high) == tuple(None if math.isnan(end) else end for end in interval)


def test_intervals_of_best_of_k_cover_the_truth() -> None:
    rng = np.random.default_rng(4)
    k, misses = 3, 0
    truth = 1 - 2 ** (-1 / k)  # median of the lowest of three uniform values
    for _ in range(400):
        point = best_of_k(list(rng.random(12)), k)
        misses += not ((point.low or 0.0) <= truth <= (point.high or 1.0))
    assert misses <= 0.05 * 400


def test_diverged_trainings_are_worse_than_all_others() -> None:
    fids = [math.inf, 5.0, math.inf, math.inf]
    assert best_of_k(fids, 1).median is None and best_of_k(fids, 1).high is None
    assert best_of_k(fids, 4).median == 5.0


def result(arm: str, setting: str, fid: float | None) -> dict[str, Any]:
    return {"norm": arm, "setting": setting, "seed": 0, "final": None if fid is None else {"fid": fid}}


def test_the_best_setting_is_chosen_once_all_are_trained() -> None:
    done = [result("sn", "t1", 9.0), result("sn", "t2", 8.0), result("msn", "t1", 1.0)]
    assert choose_settings(done, plan()) == {"sn": "t2"}
    done += [result("msn", "t2", None)]
    assert choose_settings(done, plan()) == {"sn": "t2", "msn": "t1"}
    assert choose_settings([result("sn", name, None) for name in ("t1", "t2")], plan()) == {"sn": None}


def test_every_training_sees_as_many_images() -> None:
    built = plan(arms={"big": {"norm": "none", "batch": 16}}, tune=3)
    configs = [built.config_of(training) for training in built.trainings()]
    assert len(configs) == 9 and {images_of(config) for config in configs} == {80}
    assert {(config.n_dis, config.batch, config.steps) for config in configs} == {
        (5, 8, 2),
        (1, 8, 10),
        (5, 16, 1),
        (1, 16, 5),
    }
    for training, config in zip(built.trainings(), configs, strict=True):
        assert {key: getattr(config, key) for key in RATES} == random_setting(training.setting)


def test_the_chosen_setting_is_that_of_the_seeds() -> None:
    built = plan()
    assert [training.cell for training in built.trainings()] == ["t1/sn/0", "t1/msn/0", "t2/sn/0", "t2/msn/0"]
    assert built.planned == 8 and built.waiting == 4
    chosen = ComparePlan(built.compare, built.train, built.own_arms, {"sn": "t2", "msn": None})
    assert [training.cell for training in chosen.trainings()][4:] == ["sn/1", "sn/2"], "msn diverged under all"
    assert chosen.planned == 6 and chosen.waiting == 0
    assert ComparePlan.from_dict(json.loads(json.dumps(chosen.to_dict()))) == chosen
    config = chosen.config_of(ComparedTraining("sn", 1))
    assert {key: getattr(config, key) for key in RATES} == random_setting("t2") and config.seed == 1


def test_the_command_says_the_same() -> None:
    command = compare_command("r", plan())
    assert "--tune 2 --then 2" in command and "--seeds" not in command and "-lr" not in command


@pytest.mark.parametrize(
    "given, message",
    [
        ({"seeds": 4}, "--seeds: --tune trains each setting once; give --then SEEDS"),
        ({"d_lr": 1e-4}, "--d-lr: set by --tune, in each of its settings"),
        ({"lr_grid": True}, "--tune, --lr-grid: both set learning rates"),
        ({"tune": 0}, "--then 2: has no settings to choose from; add --tune K"),
        ({"steps": 9}, "--tune: sn with --n-dis 5: a step of it shows 40 images, which must divide all 72"),
        ({"arms": {"a": {"beta1": 0.1}}}, "--arm a: --beta1 is set by --tune"),
    ],
)
def test_refused(given: dict, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        plan(**given)
    assert message in str(caught.value)


def test_settings_may_be_added_until_one_is_chosen() -> None:
    built = plan()
    more = plan(built, tune=3)
    assert not built.differences(more) and more.merge(built).compare.tune == 3
    chosen = ComparePlan(built.compare, built.train, (), {"sn": "t1"})
    assert chosen.differences(plan(chosen, tune=3)) == ["--tune: 2 -> 3 (--then has chosen among 2)"]
    seeds = build_plan("r", None, None, {**SMALL, "steps": 10, "report_every": 5, "seeds": 1}, None)
    assert seeds.differences(build_plan("r", None, None, {"tune": 2}, seeds)) == ["--tune: 0 -> 2"]


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished comparison with tuning."""
    root = tmp_path_factory.mktemp("tuned")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gan.report.charts.svg_chart", plain_chart)
        patch.setattr("gan.report.charts.svg_forest", plain_chart)
        compare(root, **TUNED)
    return root


def test_a_tuned_comparison(tuned: Path) -> None:
    record = json.loads((tuned / RUN / "report.json").read_text())
    chosen = json.loads((tuned / RUN / "config.json").read_text())["config"]["chosen"]
    for arm, entry in record["tuning"]["arms"].items():
        assert entry["best"] == chosen[arm] == min(entry["fids"], key=entry["fids"].get)
        assert [point["k"] for point in entry["curve"]] == [1, 2]
    assert [(row["norm"], row["setting"], row["seeds"]) for row in record["rows"]] == [("sn", "", 2), ("msn", "", 2)]
    assert {test["setting"] for test in record["paired"]} == {""} and record["planned"] == len(record["trainings"]) == 8
    for result in record["trainings"]:
        config = json.loads((tuned / RUN / result["folder"] / "config.json").read_text())["config"]
        setting = result["setting"] or chosen[result["norm"]]
        assert {key: config[key] for key in RATES} == random_setting(setting)
        assert (result["seed"] == 0) == bool(result["setting"]), "other seeds than those of the tuning"
    page = (tuned / RUN / "report.html").read_text()
    for text in ("Random search: lowest final FID of 2 settings", "Best of k random settings", "1 - beta2 log-uniform"):
        assert text in page
    assert "--then SEEDS" not in page
    rates = random_setting(chosen["sn"])
    assert f"| sn | sn | {rates['g_lr']} | {rates['d_lr']} |" in (tuned / RUN / "report.md").read_text()


@pytest.mark.slow
def test_tuning_alone_tests_nothing(tmp_path: Path, tuned: Path) -> None:
    """--then later trains what --then at once did."""
    record = compare(tmp_path, **{**TUNED, "then": 0})
    assert record["rows"] == [] and record["paired"] == [] and record["planned"] == 4
    assert "--then SEEDS trains the best setting" in (tmp_path / RUN / "report.md").read_text()
    compare(tmp_path, then=2)
    folders = [result["folder"] for result in compare(tmp_path)["trainings"]]
    for name in folders:
        ours, theirs = (max((root / RUN / name).glob("step-*.pt")) for root in (tmp_path, tuned))
        assert ours.name == theirs.name
        step = int(ours.stem.removeprefix("step-"))
        same_bytes(states(tmp_path, [name], step), states(tuned, [name], step))


@pytest.mark.slow
def test_jobs_train_both_parts(tmp_path: Path, tuned: Path) -> None:
    """The parent chooses the setting and writes it down for the processes of the second part."""
    assert in_jobs(tmp_path, **{**TUNED, "norms": ["sn"], "tune": 1, "then": 1}) is None
    ours, theirs = (json.loads((root / RUN / "report.json").read_text()) for root in (tmp_path, tuned))
    assert [result["folder"] for result in ours["trainings"]] == ["t1-sn-seed0", "sn-seed1"]
    assert ours["tuning"]["arms"]["sn"]["fids"]["t1"] == theirs["tuning"]["arms"]["sn"]["fids"]["t1"]


def test_one_training_at_a_time(tmp_path: Path) -> None:
    def only(cell: str) -> None:
        assert run_comparison("r", None, None, TUNED, root=tmp_path, device="cpu", only=cell) is None

    only("t2/sn/0")
    with pytest.raises(UsageError, match=r"--only sn/1: the tuning of sn is not complete \(1 of 2 settings\)"):
        only("sn/1")
    only("t1/sn/0")
    only("sn/1")
    record = json.loads((tmp_path / RUN / "report.json").read_text())
    assert [row["norm"] for row in record["rows"]] == ["sn"] and record["planned"] == 8
    with pytest.raises(UsageError, match="--only sn/3: is no training"):
        only("sn/3")


def test_dry_run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dry_run, "estimate_run", lambda *_: Estimate(10.0, 0, 10**6, extrapolated=False))
    assert run_comparison("r", None, None, TUNED, root=tmp_path, device="cpu", dry_run=True) is None
    told = capsys.readouterr().out
    assert "trainings:  8 of 8 are left" in told and "then:       4 trainings, each with the mean time" in told
    assert "t2 msn:     1 training of 20.0 s" in told and "disk:       8.0 MB" in told
