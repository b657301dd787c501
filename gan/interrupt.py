"""Ctrl-C and SIGTERM during training: finish the step, save, stop. A second one stops at once."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

from gan.progress import say

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """A context in which the first SIGINT or SIGTERM is only noted, in `received`."""

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        for number in _SIGNALS:
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        if self.received is not None:
            raise SystemExit(128 + number)
        self.received = number
        say(f"{signal.Signals(number).name}: saving after this step, then stopping; once more stops at once")
