"""The listener of a call from Python, which gets messages, warnings and progress in place of the terminal.

It is a context variable, so that a call in one thread does not silence another. Code that starts threads runs them in a
copy of the context (`contextvars.copy_context`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Progress:
    """Progress of one piece of work, such as the steps of a training: the argument of a progress callback."""

    description: str
    """What is being done, such as `training cats`."""
    done: int
    """Items that are done, with those of a run before it was resumed."""
    total: int
    """Items that will be done at the end."""
    note: str
    """Latest values, such as `D 1.234  G 0.567`, the losses; may be empty."""


@dataclass(frozen=True)
class Listener:
    """Receives what a call has to say."""

    on_message: Callable[[str], None]
    on_warning: Callable[[str], None]
    on_progress: Callable[[Progress], object] | None = None
    is_shown: bool = False
    """Also print messages and progress to standard error, and tables to standard output, as the command does."""
    said: set[str] = field(default_factory=set)
    """Messages that are given once in a call, and were given."""


_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


def current_listener() -> Listener | None:
    """The listener of the call that this code runs in; None on the command line."""
    return _listener.get()


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Give messages, warnings and progress of the block to a listener."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
