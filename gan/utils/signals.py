"""Ctrl-C, SIGTERM and SIGHUP during training: finish the step, save a checkpoint, stop. A second one stops at once.

On Windows Ctrl-Break does the same. With several ranks, the training loop makes all of them stop at the same step.
"""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType
from typing import Any

from gan.utils.progress import say

STOP_SIGNALS: tuple[int, ...] = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)
)
"""Signals that stop a training. A closed terminal sends SIGHUP, or SIGBREAK on Windows, where Ctrl-Break does too."""
STOPPING = "stopping after this step and a checkpoint; a second signal stops at once"
_REPEAT_WINDOW = 2.0  # seconds in which a rank may get one signal twice: from SLURM, and forwarded by torchrun


class StopSignals:
    """A context in which the first SIGINT, SIGTERM or SIGHUP only sets `received`.

    In a thread other than the main one, which cannot handle signals, it does nothing.

    Args:
        ranks: number of ranks. With several, no message is printed here: torchrun also sends a signal when another rank
            has failed.
    """

    def __init__(self, ranks: int = 1) -> None:
        self.received: int | None = None
        self._ranks = ranks
        self._received_at = 0.0
        self._previous_handlers: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is not threading.main_thread():
            return self
        for number in STOP_SIGNALS:
            if number in (signal.SIGINT, signal.SIGTERM) or signal.getsignal(number) != signal.SIG_IGN:
                self._previous_handlers[number] = signal.signal(number, self._handle)  # but not SIGHUP under nohup
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous_handlers.items():
            # `distributed.process_group` may ignore the signal meanwhile, to report a failure.
            if signal.getsignal(number) == self._handle:
                signal.signal(number, handler)

    def _handle(self, number: int, _: FrameType | None) -> None:
        now = time.monotonic()
        if self.received is not None:
            if self._ranks > 1 and now - self._received_at < _REPEAT_WINDOW:
                return
            raise SystemExit(128 + number)
        self.received, self._received_at = number, now
        if self._ranks == 1:
            name = signal.Signals(number).name
            say(f"{name}: {STOPPING}")
