"""`--jobs N`: train several trainings of an experiment at a time, each in a process of its own."""

from __future__ import annotations

import queue
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from gan.errors import UserError
from gan.experiments.experiment import Experiment
from gan.experiments.parallel.auto_jobs import choose_jobs
from gan.experiments.parallel.bars import Bars
from gan.experiments.parallel.process import Event, WorkerProcess, start_worker
from gan.experiments.parallel.worker import TRAIN
from gan.experiments.plan import Training
from gan.utils.cores import available_cores, threads_of
from gan.utils.counted import counted
from gan.utils.listener import Progress
from gan.utils.progress import is_new, say, warn
from gan.utils.signals import StopSignals

_POLL_SECONDS = 0.2  # between two looks at the signals


def train_in_workers(experiment: Experiment[Any, Any, Any], todo: Sequence[Training], jobs: int | None) -> int | None:
    """Train; return the signal that stopped it, or None. Failed trainings are named in `experiment.failed`.

    Args:
        experiment: with its config.json written.
        todo: the trainings that are not done.
        jobs: number of trainings at a time; None: measure which is fastest.
    """
    with StopSignals() as stop:
        if jobs is None:
            jobs = choose_jobs(experiment, todo[0], len(todo), stop)
        threads, cores = threads_of(jobs), available_cores()
        if jobs * threads > cores and experiment.runtime.device.type == "cpu":
            warn(f"--jobs {jobs}: {jobs} x {counted(threads, 'thread')} share {counted(cores, 'core')}")
        if stop.received is None:
            say(
                f"{experiment.run.name}: {len(todo)} to train, {min(jobs, len(todo))} at a time, "
                f"each with {counted(threads, 'thread')}"
            )
            _Pool(experiment, todo, jobs, stop).run()
        return stop.received


class _Pool:
    """The running processes, and the trainings that wait for one."""

    def __init__(
        self, experiment: Experiment[Any, Any, Any], todo: Sequence[Training], jobs: int, stop: StopSignals
    ) -> None:
        self._experiment = experiment
        self._waiting = list(todo)
        self._count = len(todo)
        self._jobs = jobs
        self._stop = stop
        self._events: queue.Queue[Event] = queue.Queue()
        self._running: dict[int, WorkerProcess] = {}  # by slot
        self._bars = Bars()
        self._has_news = False  # trainings have ended since the results were last written

    def run(self) -> None:
        """Train all; after a signal or an exception, such as one of the caller's progress callback, stop all."""
        is_stopping = False
        try:
            with self._bars:
                while self._running or (self._waiting and not is_stopping):
                    while self._waiting and len(self._running) < self._jobs and self._stop.received is None:
                        self._start(self._waiting.pop(0))
                    if self._has_news and self._running:
                        self._publish()
                    if self._stop.received is not None and not is_stopping:
                        is_stopping = True
                        for worker in self._running.values():
                            worker.stop()
                    with suppress(queue.Empty):
                        self._handle(*self._events.get(timeout=_POLL_SECONDS))
        except BaseException:
            if self._stop.received is None:  # not a second signal, which stops at once
                for worker in self._running.values():
                    worker.stop()
                for worker in self._running.values():
                    worker.wait()
            raise
        finally:
            for worker in self._running.values():
                worker.kill()

    def _start(self, training: Training) -> None:
        slot = next(number for number in range(self._jobs) if number not in self._running)
        say(f"{training.cell}: started, {self._count - len(self._waiting)} of {self._count}")
        self._running[slot] = start_worker(self._experiment, training, slot, self._jobs, TRAIN, self._events)

    def _handle(self, worker: WorkerProcess, entry: dict[str, Any] | None) -> None:
        if entry is None:
            self._end(worker)
        elif "progress" in entry:
            self._bars.update(worker.cell, Progress(*entry["progress"]))
        elif "message" in entry:
            say(_prefixed(worker, entry["message"]))
        elif "warning" in entry and is_new(entry["warning"]):
            warn(_prefixed(worker, entry["warning"]))

    def _end(self, worker: WorkerProcess) -> None:
        self._bars.remove(worker.cell)
        slot = next(slot for slot, other in self._running.items() if other is worker)
        del self._running[slot]
        if self._stop.received is not None and worker.was_stopped:
            return
        if failure := worker.failure():
            self._experiment.failed.append(worker.cell)
            warn(f"{worker.cell}: failed, its training resumes with the same command: {failure}")
            return
        say(f"{worker.cell}: done")
        self._has_news = True

    def _publish(self) -> None:
        """Write the results so far, once the next trainings have started."""
        self._has_news = False
        with suppress(UserError, OSError):  # reported at the end, if it is still so
            self._experiment.publish_between()


def _prefixed(worker: WorkerProcess, text: str) -> str:
    """A message with the training that it is about."""
    return text if text.startswith(worker.cell) else f"{worker.cell}: {text}"
