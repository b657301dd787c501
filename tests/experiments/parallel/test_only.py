"""`--only`: several processes, each of which trains one training of a run."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from gan.errors import UsageError, UserError
from gan.experiments import locks
from gan.experiments.classify.experiment import Classification, run_classification
from gan.experiments.compare.experiment import Comparison, run_comparison
from gan.experiments.compare.plan import ComparedTraining, ComparePlan
from gan.runs.lock import exclusive_lock
from gan.utils import environment
from tests.helpers.classifications import SMALL as CLASSIFY
from tests.helpers.commands import Call
from tests.helpers.comparisons import RUN, SMALL, compare, states
from tests.helpers.runs import context, plain_chart
from tests.helpers.states import same_bytes

CELLS = ["sn/0", "msn/0", "sn/1", "msn/1"]
FOLDERS = ["sn-seed0", "msn-seed0", "sn-seed1", "msn-seed1"]
FOUR: dict[str, Any] = {**SMALL, "seeds": 2}


def only(root: Path, cell: str, **given: Any) -> None:
    assert run_comparison("r", None, None, given, root=root, device="cpu", only=cell) is None


def _process(root: Path, cell: str, start: Any) -> None:
    """One of several processes, which start together."""
    import torch

    from gan.report import charts

    torch.set_num_threads(1)
    charts.svg_chart = plain_chart
    sys.stderr = open(root / f"{cell.replace('/', '-')}.err", "w")
    start.wait()
    only(root, cell, **FOUR)


@pytest.mark.slow
def test_four_processes_at_the_same_time(tmp_path: Path, one_job: Path) -> None:
    start = context.Barrier(4)
    processes = [context.Process(target=_process, args=(tmp_path, cell, start)) for cell in CELLS]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    told = "\n".join(path.read_text() for path in tmp_path.glob("*.err"))
    assert [process.exitcode for process in processes] == [0, 0, 0, 0], told
    same_bytes(states(tmp_path, FOLDERS), states(one_job, FOLDERS))
    record = json.loads((tmp_path / RUN / "report.json").read_text())  # of the last one
    assert record["planned"] == 4 and [one["folder"] for one in record["trainings"]] == FOLDERS
    first = json.loads((one_job / RUN / "report.json").read_text())
    assert record["config"] == first["config"] and record["paired"] == first["paired"]
    assert not list((tmp_path / RUN).glob(".*.partial")) and not list((tmp_path / RUN).glob(".*seed*.lock"))
    assert json.loads((tmp_path / RUN / "config.json").read_text())["kind"] == "compare"


def test_one_training(tmp_path: Path, one_job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    only(tmp_path, "msn/1", **FOUR)
    assert [path.name for path in (tmp_path / RUN).glob("*-seed?")] == ["msn-seed1"]
    output = capsys.readouterr()
    assert "r, 1 of 1: msn, seed 1" in output.err and "1 of 4 trainings done." in output.out
    same_bytes(states(tmp_path, ["msn-seed1"]), states(one_job, ["msn-seed1"]))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / RUN / "msn-seed1").iterdir()}
    only(tmp_path, "msn/1")  # it is done: the report is made again
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert "1 of 4 trainings done." in capsys.readouterr().out
    with pytest.raises(UsageError, match="these settings would change it.*\n  --steps: 4 -> 6"):
        only(tmp_path, "sn/0", **{**FOUR, "steps": 6})
    compare(tmp_path)
    same_bytes(states(tmp_path, FOLDERS), states(one_job, FOLDERS))


def test_a_process_that_has_begun_the_run_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its plan must be equal; its images too."""
    from gan.experiments.compare import experiment

    late = experiment.Comparison("r", None, None, FOUR, tmp_path, "cpu")
    late.choose("sn/1")
    other = experiment.Comparison("r", None, None, {**FOUR, "g_lr": 0.5}, tmp_path, "cpu")
    other.choose("sn/1")
    only(tmp_path, "sn/0", **FOUR)
    with pytest.raises(UsageError, match="these settings would change it.*\n  --g-lr: 0.0006 -> 0.5"):
        other.execute()
    assert not (tmp_path / RUN / "sn-seed1").exists()
    record = json.loads((tmp_path / RUN / "config.json").read_text())
    record["data"]["fingerprint"] = "0" * 64
    (tmp_path / RUN / "config.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match="the images differ from those at the start"):
        late.execute()


def test_a_training_that_is_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "_PROBE_SECONDS", 0.1)
    only(tmp_path, "sn/0", **FOUR)
    running = ComparedTraining("msn", 0)
    with locks.training_lock(tmp_path / RUN, running):
        with pytest.raises(UserError, match=r"checkpoints/r: another process is training msn/0; wait until it ends$"):
            only(tmp_path, "msn/0")
        with pytest.raises(UserError, match="other processes are training msn/0; wait until they end, or train one of"):
            compare(tmp_path)
        with pytest.raises(UserError, match="other processes are training msn/0"):
            run_comparison("r", None, None, {}, root=tmp_path, device="cpu", jobs=2)
        only(tmp_path, "sn/1")
    with exclusive_lock(tmp_path / RUN):
        with pytest.raises(UserError, match="another process is training there"):
            compare(tmp_path)
        only(tmp_path, "msn/0")  # as those that --jobs starts
    assert len(compare(tmp_path)["trainings"]) == 4


def test_a_wrong_name_lists_all(call: Call) -> None:
    words = ["compare", "r", "--norms", "sn,msn", "--seeds", "2", "--steps", "4"]
    code, told = call(*words, "--only", "sn-seed0")
    assert code == 2 and "--only sn-seed0: is no training of RUN r; choose from sn/0, msn/0, sn/1, msn/1" in told
    code, told = call(*words, "--lr-grid", "--only", "sn/0")
    assert code == 2 and "choose from A/sn/0, A/msn/0, B/sn/0" in told
    code, told = call("classify", "r", "--norms", "sn", "--lr", "1e-3", "--only", "sn/1e-3/0")
    assert code == 2 and "choose from sn/0.001/0" in told
    assert not Path("checkpoints").exists()


@pytest.mark.parametrize("command", ["compare", "classify"])
def test_jobs_and_only_exclude_each_other(command: str, call: Call) -> None:
    for words in (["--jobs", "2"], ["--jobs", "auto"]):
        code, told = call(command, "r", *words, "--only", "sn/0")
        assert code == 2 and "--only sn/0: is one training; leave out --jobs" in told
    for value in ("0", "-1", "many"):
        code, told = call(command, "r", "--jobs", value)
        assert code == 2 and f"'{value}': give a number of trainings from 1, or auto" in told


def test_unequal_versions_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of an array whose jobs ran on different machines."""
    only(tmp_path, "sn/0", **FOUR)
    versions = {**environment.program_versions(), "torch": "1.0.0"}
    monkeypatch.setattr("gan.experiments.provenance.program_versions", lambda: versions)
    only(tmp_path, "msn/0", **FOUR)
    warnings = json.loads((tmp_path / RUN / "report.json").read_text())["warnings"]
    assert warnings == ["Not all trainings have the same versions (torch); see the result.json of each."]


def test_classify(tmp_path: Path) -> None:
    given = {**CLASSIFY, "norms": ["none", "sn"], "lr": [0.01]}
    assert run_classification("whole", given, root=tmp_path, device="cpu") is None
    for cell in ("sn/0.01/0", "none/0.01/0"):
        assert run_classification("r", given, root=tmp_path, device="cpu", only=cell) is None
    record, whole = (
        json.loads((tmp_path / f"checkpoints/{name}/classify.json").read_text()) for name in ("r", "whole")
    )
    assert [one["folder"] for one in record["trainings"]] == ["none-lr0.01-seed0", "sn-lr0.01-seed0"]
    for row, other in zip(record["rows"], whole["rows"], strict=True):
        assert {**row, "step_seconds": 0} == {**other, "step_seconds": 0}


def test_names_of_trainings(one_job: Path) -> None:
    plan = ComparePlan.from_dict(json.loads((one_job / RUN / "config.json").read_text())["config"])
    assert [training.cell for training in plan.trainings()] == CELLS
    assert ComparedTraining("sn", 2, "A").cell == "A/sn/2"


@pytest.mark.filterwarnings("ignore::gan.errors.GANWarning")
def test_from_python(tmp_path: Path) -> None:
    import gan

    result = gan.compare("r", out=tmp_path, device="cpu", only="sn/1", **FOUR)
    assert [one["folder"] for one in result.record["trainings"]] == ["sn-seed1"]
    for given, message in (
        ({"jobs": 0}, "--jobs 0: give a number of trainings from 1, or auto"),
        ({"jobs": 2, "only": "sn/0"}, "--only sn/0: is one training; leave out --jobs"),
        ({"only": "bn/0"}, "--only bn/0: is no training of RUN r; choose from sn/0, msn/0, sn/1, msn/1"),
    ):
        with pytest.raises(UsageError, match=message):
            gan.compare("r", out=tmp_path, device="cpu", **given)


def test_a_training_that_another_process_finished_is_not_repeated(
    one_job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list of what is left is from before the other process finished it."""
    monkeypatch.chdir(tmp_path)
    classify: dict[str, Any] = {**CLASSIFY, "norms": ["sn"], "lr": [0.01]}
    assert run_classification("c", classify, device="cpu") is None
    compare(one_job, **FOUR)
    files = [*tmp_path.glob("checkpoints/c/*seed0/*"), *(one_job / RUN).glob("*-seed?/*")]
    before = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in files}
    for kind in (Classification, Comparison):
        monkeypatch.setattr(kind, "left", lambda experiment: list(experiment.requested.trainings()))
    assert run_classification("c", classify, device="cpu") is None
    compare(one_job, **FOUR)
    assert {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in files} == before
