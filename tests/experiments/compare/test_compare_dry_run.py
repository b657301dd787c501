"""`compare --dry-run` counts what is left, adds up estimates, and writes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gan.experiments.compare import dry_run
from gan.experiments.compare.experiment import Comparison, run_comparison
from gan.experiments.parallel import estimated_jobs
from gan.training.estimate import Estimate
from tests.helpers.comparisons import SMALL


@pytest.fixture(autouse=True)
def _estimates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of 10 s, and checkpoints of 1 MB."""
    monkeypatch.setattr(dry_run, "estimate_run", lambda *_: Estimate(10.0, 0, 10**6, extrapolated=False))
    monkeypatch.setattr(dry_run, "network_flop", lambda _: (1.0, 1.0))
    monkeypatch.setattr(dry_run, "training_flop", lambda *_: 100.0)
    monkeypatch.setattr(dry_run, "scoring_flop", lambda *_: 1.0)


def lines(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    rows = (line.split(":", 1) for line in capsys.readouterr().out.splitlines())
    return {name: text.strip() for name, text in rows}


def test_time_and_disk_of_all_trainings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """4 steps and 2 scores of 20 images: 40 s, and 40/100 of a step for scores."""
    options = {**SMALL, "norms": ["sn", "msn"], "seeds": 3}
    assert run_comparison("r", None, None, options, root=tmp_path, device="cpu", dry_run=True) is None
    told = lines(capsys)
    assert told["trainings"] == "6 of 6 are left" and told["images"] == "digits"
    assert told["sn"] == told["msn"] == "3 trainings of 40.0 s, and 4.0 s for 2 scores"
    assert told["time"] == "4 min 24 s" and told["disk"] == "12 MB for checkpoints"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "jobs, expected", [(1, "4 min 24 s"), (2, "2 min 12 s, 2 trainings at a time"), (None, "4 min 24 s")]
)
def test_time_of_several_jobs(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    jobs: int | None,
    expected: str,
) -> None:
    """Steps are timed with the threads that each training will have."""
    threads: list[int] = []

    def estimate(*_: object) -> Estimate:
        threads.append(torch.get_num_threads())
        return Estimate(10.0, 0, 10**6, extrapolated=False)

    monkeypatch.setattr(dry_run, "estimate_run", estimate)
    monkeypatch.setattr(estimated_jobs, "available_cores", lambda: 2)
    monkeypatch.setattr(estimated_jobs, "threads_of", lambda jobs: 7)
    before = torch.get_num_threads()
    options = {**SMALL, "norms": ["sn", "msn"], "seeds": 3}
    run_comparison("r", None, None, options, root=tmp_path, device="cpu", dry_run=True, jobs=jobs)
    assert lines(capsys)["time"] == expected
    assert threads == [7 if jobs == 2 else before] * 2 and torch.get_num_threads() == before


def test_equal_seconds_are_those_of_the_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also if its own trainings are not among those that are left: a step of the other takes three times as long."""
    steps = {"sn": 10.0, "msn": 30.0}
    monkeypatch.setattr(
        dry_run, "estimate_run", lambda config, *_: Estimate(steps[config.norm], 0, 1, extrapolated=False)
    )
    options = {**SMALL, "norms": ["sn", "msn"], "budget": "seconds"}
    for only in (None, "msn/0"):
        run_comparison("r", None, None, options, root=tmp_path, device="cpu", dry_run=True, only=only)
        assert " of 40.0 s, " in lines(capsys)["msn"]


TUNED = {**SMALL, "norms": ["sn"], "budget": "steps", "tune": 2, "then": 3}


def test_the_last_trainings_after_tuning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are counted before the best settings are chosen, and timed once those are known."""
    run_comparison("r", None, None, TUNED, root=tmp_path, device="cpu", dry_run=True)
    told = lines(capsys)
    assert told["trainings"] == "5 of 5 are left" and told["then"] == "3 trainings, each with the mean time of these"
    run_comparison("r", None, None, TUNED, root=tmp_path, device="cpu", dry_run=True, only="t1/sn/0")
    told = lines(capsys)
    assert told["trainings"] == "1 of 5 are left" and "then" not in told
    monkeypatch.setattr("gan.experiments.compare.tuning.choose_settings", lambda *_: {"sn": "t1"})
    monkeypatch.setattr(Comparison, "_is_done", lambda _, training: bool(training.setting))
    run_comparison("r", None, None, TUNED, root=tmp_path, device="cpu", dry_run=True)
    told = lines(capsys)
    assert told["trainings"] == "3 of 5 are left" and told["sn"].startswith("3 trainings of ")
    assert told["time"] != "0.0 s"


def test_jobs_share_one_gpu_of_a_mac(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    found = [estimated_jobs.estimated_jobs(jobs, 8, torch.device("mps")) for jobs in (1, 4, None)]
    assert found == [1, 1, 1]


def test_what_is_done_is_not_counted(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(copy.rglob("*"))
    assert run_comparison("r", None, None, {"seeds": 3, "norms": ["sn"]}, root=copy, device="cpu", dry_run=True) is None
    told = lines(capsys)
    assert told["trainings"] == "1 of 9 are left" and "msn" not in told
    assert told["sn"].startswith("1 training of 40.0 s") and sorted(copy.rglob("*")) == before
