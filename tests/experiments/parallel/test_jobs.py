"""`--jobs`: several trainings at a time, each in a process of its own."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gan.errors import UserError
from gan.experiments.classify.experiment import run_classification
from gan.experiments.compare.experiment import Comparison, run_comparison
from gan.experiments.parallel import process, workers
from gan.experiments.parallel.process import Event, WorkerProcess
from gan.utils.cores import available_cores
from gan.utils.signals import StopSignals
from tests.helpers.classifications import SMALL as CLASSIFY
from tests.helpers.comparisons import BOTH, RUN, compare, in_jobs, states
from tests.helpers.own_code import SOURCE
from tests.helpers.states import same_bytes

FOLDERS = ["sn-seed0", "msn-seed0"]
LONG: dict[str, Any] = {**BOTH, "steps": 200, "checkpoint_every": 50, "report_every": 100, "sample_every": 200}


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A longer comparison, trained with one job."""
    root = tmp_path_factory.mktemp("long")
    compare(root, **LONG)
    return root


def at_events(monkeypatch: pytest.MonkeyPatch, action: Callable[[WorkerProcess, dict[str, Any]], object]) -> None:
    """Call `action` with each worker and what it sends."""
    handle = workers._Pool._handle

    def handling(self: Any, worker: WorkerProcess, entry: dict[str, Any] | None) -> None:
        if entry is not None:
            action(worker, entry)
        handle(self, worker, entry)

    monkeypatch.setattr(workers._Pool, "_handle", handling)


def test_the_same_bytes_as_one_job(tmp_path: Path, one_job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert in_jobs(tmp_path, **BOTH) is None
    same_bytes(states(tmp_path, FOLDERS), states(one_job, FOLDERS))
    record = json.loads((tmp_path / RUN / "report.json").read_text())
    assert record["warnings"] == [] and [one["folder"] for one in record["trainings"]] == FOLDERS
    output = capsys.readouterr()
    lines = output.err.splitlines()
    for line in (
        "r: 2 to train, 2 at a time, each with 1 thread",
        "sn/0: started, 1 of 2",
        "msn/0: started, 2 of 2",
        "sn/0: done",
        "msn/0: done",
    ):
        assert lines.count(line) == 1, output.err
    assert sum("FID from 20 images is far too high" in line for line in lines) == 1  # not once for each process
    assert sum("images at 32x32x1" in line for line in lines) == 1
    assert "quickstart on digits: sn, msn" in output.out


@pytest.mark.slow
def test_a_killed_process_is_named(
    tmp_path: Path, one_job: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    start = workers.start_worker

    def killing(experiment: Any, training: Any, *others: Any) -> WorkerProcess:
        worker = start(experiment, training, *others)
        if training.cell == "sn/0":
            os.kill(worker.pid, signal.SIGKILL)
        return worker

    monkeypatch.setattr(workers, "start_worker", killing)
    with pytest.raises(UserError, match=r"1 training failed \(sn/0\); the others are done; run the same command again"):
        in_jobs(tmp_path, **BOTH)
    told = capsys.readouterr().err
    assert (
        "sn/0: failed, its training resumes with the same command: killed by SIGKILL (possibly out of memory)" in told
    )
    assert "msn/0: done" in told
    assert [one["folder"] for one in json.loads((tmp_path / RUN / "report.json").read_text())["trainings"]] == FOLDERS[
        1:
    ]
    compare(tmp_path)
    same_bytes(states(tmp_path, FOLDERS), states(one_job, FOLDERS))


def test_jobs_beyond_the_cores_are_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(workers._Pool, "run", lambda self: None)
    jobs = available_cores() + 1
    monkeypatch.delenv("OMP_NUM_THREADS")
    in_jobs(tmp_path, jobs, **BOTH)
    assert f"--jobs {jobs}: {jobs} x 1 thread share {available_cores()} core" in capsys.readouterr().err


def test_how_a_process_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its line of an error, its signal, or its exit code. What it prints besides is a message."""
    full = "msn-gan: checkpoints/r/sn-seed0/log.jsonl: cannot be written: No space left on device"
    endings = {
        f"print('{full}', file=sys.stderr); sys.exit(1)": full.removeprefix("msn-gan: "),
        "os.kill(os.getpid(), 15)": "killed by SIGTERM",
        "print('hello'); sys.exit(3)": "ended with exit code 3",
        "pass": None,
    }
    for text, expected in endings.items():
        monkeypatch.setattr(process, "_START", f"import os, sys; {text}")
        events: queue.Queue[Event] = queue.Queue()
        worker = WorkerProcess("sn/0", [], {}, events)
        sent = []
        while (entry := events.get(timeout=20)[1]) is not None:
            sent.append(entry)
        assert worker.failure() == expected and worker.was_stopped == (expected == "killed by SIGTERM")
        assert sent == ([{"message": "hello"}] if "hello" in text else [])


def test_each_process_has_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    comparison = Comparison("r", None, None, BOTH, tmp_path, "cpu")
    training = comparison.left()[0]
    started: list[tuple[list[str], dict[str, str]]] = []
    monkeypatch.setattr(process, "WorkerProcess", lambda cell, words, place, events: started.append((words, place)))

    class Cuda:
        type = "cuda"

    comparison.runtime = comparison.runtime.__class__(Cuda(), False)  # type: ignore[arg-type]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    for slot in range(3):
        process.start_worker(comparison, training, slot, 3, "train", queue.Queue())
    assert [place["CUDA_VISIBLE_DEVICES"] for _, place in started] == ["3", "5", "3"]
    assert started[0][0] == [
        *("compare", "r", "--out", str(tmp_path), "--device", "cpu"),
        *("--only", "sn/0", "--worker", "train"),
    ]


@pytest.mark.slow
def test_ctrl_c(
    tmp_path: Path, long: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All processes save and stop, and the same command goes on to the same bytes."""
    steps: dict[str, int] = {}

    def interrupt(worker: WorkerProcess, entry: dict[str, Any]) -> None:
        if "progress" in entry and entry["progress"][0] == "":
            steps[worker.cell] = entry["progress"][1]
            if len(steps) == 2 and len(sent) == 0:
                sent.append(signal.raise_signal(signal.SIGINT))

    sent: list[object] = []
    with monkeypatch.context() as patch:
        at_events(patch, interrupt)
        assert in_jobs(tmp_path, **LONG) == signal.SIGINT
    told = capsys.readouterr().err
    assert told.count("SIGINT: stopping after this step") == 1 and "SIGTERM: stopping" not in told
    assert told.rstrip().splitlines()[-1].endswith(f" compare r --out {tmp_path} --device cpu --jobs 2"), told
    for cell, name in (("sn/0", "sn, seed 0"), ("msn/0", "msn, seed 0")):
        assert f"{cell}: {name}: stopped at step" in told or f"{cell}: done" in told, told
    assert in_jobs(tmp_path) is None
    same_bytes(states(tmp_path, FOLDERS, 200), states(long, FOLDERS, 200))


def test_an_exception_of_the_progress_callback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All processes are asked to save and stop, and are waited for."""
    calls: list[str] = []

    class Worker:
        cell = "sn/0"

        def stop(self) -> None:
            calls.append("stop")

        def wait(self) -> None:
            calls.append("wait")

        def kill(self) -> None:
            calls.append("kill")

    def start(experiment: Any, training: Any, slot: int, jobs: int, work: str, events: queue.Queue[Any]) -> Any:
        events.put((worker, {"progress": ["", 1, 4, ""]}))
        return worker

    worker: Any = Worker()
    monkeypatch.setattr(workers, "start_worker", start)
    monkeypatch.setattr(workers.Bars, "update", lambda *_: sys.exit(3))
    comparison = Comparison("r", None, None, BOTH, tmp_path, "cpu")
    with StopSignals() as stop, pytest.raises(SystemExit, match="3"):
        workers._Pool(comparison, comparison.left()[:1], 1, stop).run()
    assert calls == ["stop", "wait", "kill"]


@pytest.mark.slow
def test_a_process_killed_while_it_trains(tmp_path: Path, long: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[str] = []

    def kill(worker: WorkerProcess, entry: dict[str, Any]) -> None:
        if worker.cell == "msn/0" and "progress" in entry and entry["progress"][1] > 60 and not killed:
            killed.append(worker.cell)
            os.kill(worker.pid, signal.SIGKILL)

    at_events(monkeypatch, kill)
    with pytest.raises(UserError, match=r"1 training failed \(msn/0\)"):
        in_jobs(tmp_path, **LONG)
    assert in_jobs(tmp_path) is None
    same_bytes(states(tmp_path, FOLDERS, 200), states(long, FOLDERS, 200))


@pytest.mark.slow
def test_processes_stop_if_their_parent_is_killed(tmp_path: Path) -> None:
    words = "--norms sn,msn --seeds 1 --steps 100000 --channels 1 --g-width 4 --d-width 4 --precision fp32 --batch 8"
    command = [sys.executable, "-m", "gan", "compare", "r", *words.split(), "--jobs", "2"]
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    ) as parent:
        folders = [tmp_path / RUN / name for name in FOLDERS]
        wait_for(lambda: all((folder / "config.json").exists() for folder in folders), 60)
        parent.kill()
    wait_for(lambda: all(list(folder.glob("step-*.pt")) for folder in folders), 30)
    wait_for(lambda: not list((tmp_path / RUN).glob(".*seed*.lock")), 30)


def wait_for(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
def test_own_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The processes get the flags that name it."""
    from gan.config import plugins

    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(SOURCE)
    plugins.allow(["own.py:norm"])
    arms = {"base": {"norm": "none", "r1": 0.1}}
    given = {**BOTH, "norms": ["sn", "own.py:norm"], "baseline": "base"}
    assert run_comparison("r", None, None, given, root=Path(), device="cpu", jobs=2, arms=arms) is None
    assert "own.py:norm/0: done" in capsys.readouterr().err
    plugins._allowed.clear()
    assert in_jobs(Path(), norms=["bn"]) is None
    assert "bn/0: done" in capsys.readouterr().err


@pytest.mark.slow
def test_classify(tmp_path: Path) -> None:
    given = {**CLASSIFY, "norms": ["none", "sn"], "lr": [0.01]}
    for name, jobs in (("one", 1), ("two", 2)):
        assert run_classification(name, given, root=tmp_path, device="cpu", jobs=jobs) is None
    one, two = (json.loads((tmp_path / "checkpoints" / name / "classify.json").read_text()) for name in ("one", "two"))
    for row, other in zip(one["rows"], two["rows"], strict=True):
        assert {**row, "step_seconds": 0} == {**other, "step_seconds": 0}
    for result, other in zip(one["trainings"], two["trainings"], strict=True):
        curves = ({**trained["curve"], "step_seconds": 0} for trained in (result, other))
        assert next(curves) == next(curves)
