"""A worker process as its parent sees it: start, events, signals, and how it ended."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

import torch

from gan.experiments.experiment import Experiment
from gan.experiments.plan import Training
from gan.utils.cores import threads_of
from gan.utils.signals import STOP_SIGNALS

# Imports from the same places as this process does, whatever the working folder contains.
_START = (
    "import os, sys; sys.path[:] = os.environ['MSN_GAN_PATH'].split(os.pathsep); sys.argv[0] = 'msn-gan'; "
    "from gan.__main__ import run; run()"
)
_ERROR = "msn-gan: "
_CTRL_BREAK_EXIT = 0xC000013A  # of a Windows process that Ctrl-Break ended before it could handle it

Event = tuple["WorkerProcess", dict[str, Any] | None]
"""A message of a worker; None: the worker has ended."""


class WorkerProcess:
    """A process that runs the command of one training.

    Args:
        cell: its training, for messages.
        command: the command, without the program's name.
        environment: variables that differ from those of this process.
        events: gets what the process sends and prints, and None at its end.
    """

    def __init__(
        self, cell: str, command: Sequence[str], environment: Mapping[str, str], events: queue.Queue[Event]
    ) -> None:
        self.cell = cell
        self._events = events
        self._error: str | None = None
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START, *command],
            env={**os.environ, "MSN_GAN_PATH": os.pathsep.join(sys.path), **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            bufsize=1,
            # Ctrl-C in a terminal reaches the parent alone, which passes it on.
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # the same on Windows
        )
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    def _read(self) -> None:
        """Pass on what the process sends and prints, until its end; in a thread."""
        assert self._process.stdout and self._process.stderr
        errors = threading.Thread(target=self._read_errors, args=(self._process.stderr,), daemon=True)
        errors.start()
        for line in self._process.stdout:
            self._events.put((self, _parse(line)))
        self._process.wait()
        errors.join()
        self._events.put((self, None))

    def _read_errors(self, stream: TextIO) -> None:
        for line in stream:
            if line.startswith(_ERROR):
                self._error = line.removeprefix(_ERROR).rstrip()
            elif line.strip():
                self._events.put((self, {"message": line.rstrip()}))

    def send(self, line: str) -> None:
        """Write a line to its standard input; ignored if it has ended."""
        assert self._process.stdin
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except OSError:
            pass

    def stop(self) -> None:
        """Send SIGTERM: it saves a checkpoint and ends. SIGINT would print a traceback while Python starts.

        On Windows SIGTERM cannot be handled; there it is Ctrl-Break, which arrives as SIGBREAK.
        """
        self._process.send_signal(getattr(signal, "CTRL_BREAK_EVENT", signal.SIGTERM))

    def wait(self) -> None:
        """Wait until it has ended."""
        self._process.wait()

    def kill(self) -> None:
        """End it at once, and wait for that."""
        self._process.kill()
        self._process.wait()

    @property
    def was_stopped(self) -> bool:
        """True if the ended process was stopped by a signal that ends training, or by its parent's end."""
        return self._process.returncode in (
            *(code for number in STOP_SIGNALS for code in (-number, 128 + number)),
            _CTRL_BREAK_EXIT,
        )

    def failure(self) -> str | None:
        """Description of the failure of an ended process; None if it succeeded."""
        code = self._process.returncode
        if code == 0:
            return None
        if code < 0:
            name = signal.Signals(-code).name
            likely = " (possibly out of memory)" if name == "SIGKILL" else ""
            return f"killed by {name}{likely}"
        return self._error or f"ended with exit code {code}"


def start_worker(
    experiment: Experiment[Any, Any, Any],
    training: Training,
    slot: int,
    jobs: int,
    work: str,
    events: queue.Queue[Event],
) -> WorkerProcess:
    """Start a process for one training.

    Args:
        slot: number of the process among those at the same time, which chooses its GPU.
        jobs: number of processes at a time, which share the cores.
        work: what it does, see `worker`.
    """
    command = experiment.worker_words(training, work)
    environment = {"OMP_NUM_THREADS": str(threads_of(jobs))}
    if experiment.runtime.device.type == "cuda":
        devices = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(torch.cuda.device_count())))
        names = devices.split(",")
        environment["CUDA_VISIBLE_DEVICES"] = names[slot % len(names)]
    return WorkerProcess(training.cell, command, environment, events)


def _parse(line: str) -> dict[str, Any]:
    """A JSON line of a worker; any other line is a message."""
    try:
        entry = json.loads(line)
    except ValueError:
        entry = None
    return entry if isinstance(entry, dict) else {"message": line.rstrip()}
