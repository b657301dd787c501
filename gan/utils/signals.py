"""Ctrl-C, SIGTERM and SIGHUP during training: finish the step, save, stop. A second one stops at once.

Among several ranks the step is the one that all of them stop at, which the training loop sees to.
"""

from __future__ import annotations

import signal
import time
from types import FrameType
from typing import Any

from gan.utils.progress import say

# Windows has no SIGHUP, which comes when a terminal is closed.
_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
_ECHO = 2.0  # seconds in which a rank may get one signal twice: as SLURM sends it to all, and as torchrun hands it on


class StopSignals:
    """A context in which the first SIGINT, SIGTERM or SIGHUP is only noted, in `received`.

    Args:
        ranks: how many processes train together. Among several, the first one is not told of here: it may be torchrun's
            way of saying that another rank is gone.
    """

    def __init__(self, ranks: int = 1) -> None:
        self.received: int | None = None
        self._ranks = ranks
        self._since = 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        for number in _SIGNALS:
            if number in (signal.SIGINT, signal.SIGTERM) or signal.getsignal(number) != signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._note)  # but not for SIGHUP under nohup
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            if (
                signal.getsignal(number) == self._note
            ):  # else `distributed.process_group` ignores them, so as to tell why it ends
                signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        now = time.monotonic()
        if self.received is not None:
            if self._ranks > 1 and now - self._since < _ECHO:
                return
            raise SystemExit(128 + number)
        self.received, self._since = number, now
        if self._ranks == 1:
            say(f"{signal.Signals(number).name}: saving after this step, then stopping; once more stops at once")
