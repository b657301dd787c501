"""`--jobs auto` chooses by measurement, once for a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gan.experiments.parallel import auto_jobs, workers
from gan.utils.cores import available_cores
from tests.helpers.comparisons import BOTH, RUN, SMALL, in_jobs


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> dict[int, float]:
    rates = {1: 10.0, 2: 13.5}
    monkeypatch.setattr(auto_jobs, "available_cores", lambda: 2)
    monkeypatch.setattr("gan.utils.cores.available_cores", lambda: 2)
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(auto_jobs, "_measure", lambda *_: rates)
    monkeypatch.setattr(workers._Pool, "run", lambda self: None)
    return rates


def test_the_fastest_is_chosen_and_kept(
    tmp_path: Path, measured: dict[int, float], capsys: pytest.CaptureFixture[str]
) -> None:
    in_jobs(tmp_path, None, **BOTH)
    assert (
        "--jobs auto: 2 jobs of 1 thread; 1 job of 2 threads runs 10 steps/s, 1.35 times as many with 2 of 1 thread"
        in capsys.readouterr().err
    )
    measured[2] = 1.0
    in_jobs(tmp_path, None)
    assert "--jobs auto: 2 jobs of 1 thread, as when the run began" in capsys.readouterr().err


def test_little_gain_is_none(tmp_path: Path, measured: dict[int, float], capsys: pytest.CaptureFixture[str]) -> None:
    measured[2] = 10.2
    in_jobs(tmp_path, None, **BOTH)
    assert "--jobs auto: 1 job of 2 threads; 1 job of 2 threads runs 10 steps/s, 1.02 times" in capsys.readouterr().err


def test_one_training_needs_no_measurement(
    tmp_path: Path, measured: dict[int, float], capsys: pytest.CaptureFixture[str]
) -> None:
    in_jobs(tmp_path, None, **{**SMALL, "norms": ["sn"], "seeds": 1})
    assert "--jobs auto: 1 job of 2 threads; there is nothing to measure" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("cores", "count", "expected"), [(1, 9, [1]), (2, 9, [1, 2]), (12, 9, [1, 2, 4, 8]), (8, 3, [1, 2])]
)
def test_candidates(cores: int, count: int, expected: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(auto_jobs, "available_cores", lambda: cores)
    monkeypatch.setattr("gan.utils.cores.available_cores", lambda: cores)
    assert auto_jobs._candidates(count) == expected


@pytest.mark.slow
def test_a_measurement(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert in_jobs(tmp_path, None, **BOTH) is None
    told = capsys.readouterr().err
    assert "--jobs auto: " in told and "sn/0: done" in told and "msn/0: done" in told
    if available_cores() > 1:
        entry = json.loads((tmp_path / RUN / "config.json").read_text())["jobs"]
        assert entry["steps_per_second"]["1"] > 0 and entry["steps_per_second"]["2"] > 0


@pytest.mark.slow
def test_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(auto_jobs, "available_memory", lambda: 10**9)
    assert in_jobs(tmp_path, None, **BOTH) is None
    assert "--jobs auto: 1 job of 1 thread; there is nothing to measure" in capsys.readouterr().err
