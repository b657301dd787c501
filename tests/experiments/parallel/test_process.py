"""Signals of worker processes, also as on Windows."""

from __future__ import annotations

import io
import queue
import signal
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from gan.experiments.parallel import process
from gan.experiments.parallel.process import WorkerProcess
from gan.utils.signals import STOP_SIGNALS


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> WorkerProcess:
    """A worker whose process is a program that waits."""
    monkeypatch.setattr(process, "_START", "import sys; sys.stdin.read()")
    return WorkerProcess("sn/0", [], {}, queue.Queue())


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_worker_is_stopped_by_sigterm(worker: WorkerProcess) -> None:
    worker.stop()
    assert worker._process.wait(30) == -signal.SIGTERM and worker.was_stopped


def test_a_worker_is_stopped_by_ctrl_break_on_windows(worker: WorkerProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(signal, "CTRL_BREAK_EVENT", 1, raising=False)
        patch.setattr(worker._process, "send_signal", sent.append)
        worker.stop()
    worker.kill()
    assert sent == [1]


@pytest.mark.parametrize(
    ("code", "stopped"),
    [(0, False), (1, False), (-signal.SIGINT, True), (128 + signal.SIGTERM, True), (0xC000013A, True), (-9, False)],
)
def test_which_exit_codes_mean_stopped(worker: WorkerProcess, code: int, stopped: bool) -> None:
    worker.kill()
    ended: Any = SimpleNamespace(returncode=code, stdout=io.StringIO(), stderr=io.StringIO(), wait=lambda: code)
    worker._process = ended
    assert worker.was_stopped is stopped


def test_the_signals_of_this_system() -> None:
    names = {signal.Signals(number).name for number in STOP_SIGNALS}
    assert {"SIGINT", "SIGTERM"} < names
    assert names - {"SIGINT", "SIGTERM"} == ({"SIGBREAK"} if sys.platform == "win32" else {"SIGHUP"})


def test_a_group_of_its_own_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {}

    def popen(*_: object, **given: Any) -> Any:
        options.update(given)
        return SimpleNamespace(stdout=io.StringIO(), stderr=io.StringIO(), wait=lambda: 0)

    monkeypatch.setattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0x200, raising=False)
    monkeypatch.setattr(subprocess, "Popen", popen)
    WorkerProcess("sn/0", [], {}, queue.Queue())
    assert options["creationflags"] == 0x200
