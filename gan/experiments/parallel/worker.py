"""A process that `--jobs` has started: it trains one training, or measures its speed, and reports to its parent.

It writes JSON lines to the pipe that is its standard output: `message`, `warning`, `progress` and `measured`. If the
parent is gone, it stops as on SIGTERM: after a step and a checkpoint.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Any

import torch

from gan.bench.turns import seconds_per_step
from gan.config import plugins
from gan.experiments.experiment import Experiment
from gan.experiments.locks import training_lock
from gan.utils.listener import Listener, Progress, listening
from gan.utils.peak_memory import peak_memory_bytes
from gan.utils.signals import STOPPING

TRAIN, MEASURE = "train", "measure"
"""What a worker does."""
_INTERVAL = 0.2  # seconds between reports of progress


class _Channel:
    """The pipe to the parent."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._lock = threading.Lock()  # messages also come from threads
        self._sent_at = 0.0
        self.names: tuple[str, ...] = ()
        """Names of the training: progress whose description has one is that of its steps, sent without description."""
        self._has_begun = False

    def send(self, **entry: Any) -> None:
        with self._lock:
            try:
                self._file.write(json.dumps(entry) + "\n")
                self._file.flush()
            except (OSError, ValueError):  # the parent is gone; ValueError: and this is the second attempt
                if not self._file.closed:
                    self._file = open(os.devnull, "w")
                    signal.raise_signal(signal.SIGTERM)  # os.kill would end the process at once on Windows

    def message(self, text: str) -> None:
        """Send a message that is not also one of the parent: about this training, or after it has begun."""
        is_own = self._has_begun or any(name in text for name in self.names)
        if is_own and not text.endswith(STOPPING):
            self.send(message=text)

    def warning(self, text: str) -> None:
        self.send(warning=text)

    def progress(self, progress: Progress) -> None:
        is_training = any(name in progress.description for name in self.names)
        self._has_begun |= is_training
        now = time.monotonic()
        if now - self._sent_at >= _INTERVAL or progress.done >= progress.total:
            self._sent_at = now
            description = "" if is_training else progress.description
            self.send(progress=[description, progress.done, progress.total, progress.note])


_channel: _Channel | None = None


@contextmanager
def reporting(worker: str | None, own_code: Iterable[str]) -> Iterator[None]:
    """In a worker, send messages and progress of the block to the parent, and what is printed to standard error.

    Args:
        worker: TRAIN or MEASURE; None in another process, where the block just runs.
        own_code: references to the user's own code, named to the parent, that a worker may run.
    """
    global _channel
    if worker is None:
        yield
        return
    plugins.allow(own_code)
    pipe = os.fdopen(os.dup(sys.__stdout__.fileno()), "w", encoding="utf-8")  # type: ignore[union-attr]
    os.dup2(sys.__stderr__.fileno(), sys.__stdout__.fileno())  # type: ignore[union-attr]
    _channel = _Channel(pipe)
    with listening(Listener(_channel.message, _channel.warning, _channel.progress)):
        yield


def work(experiment: Experiment[Any, Any, Any], worker: str) -> int | None:
    """Train or measure the training of `--only`; return the signal that stopped it.

    Args:
        worker: TRAIN or MEASURE.

    Raises:
        UserError: anything that the user can correct.
    """
    assert experiment.only is not None and _channel is not None
    experiment.in_worker = True
    _channel.names = (experiment.only.name, str(experiment.only))
    if worker == TRAIN:
        with training_lock(experiment.folder, experiment.only):
            return experiment.train()
    _measure(experiment, _channel)
    return None


def _measure(experiment: Experiment[Any, Any, Any], channel: _Channel) -> None:
    """Run steps for as long as the lines of standard input say, `THREADS SECONDS` each, and report their number."""
    step = experiment.build_step(experiment.only)
    step()
    channel.send(measured={})
    for line in sys.stdin:
        threads, seconds = line.split()
        torch.set_num_threads(int(threads))
        step()  # with the new number of threads
        rate = 1 / seconds_per_step(step, float(seconds))
        channel.send(measured={"rate": rate, "memory": peak_memory_bytes(experiment.runtime.device)})
