"""The context of every call of the Python API: messages, progress, random state, signals"""

import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from gan.distributed import process_group
from gan.errors import GANWarning, UsageError
from gan.runs.command_line import called_from_python
from gan.utils.listener import Listener, Progress, listening
from gan.utils.signals import STOP_SIGNALS

ProgressCallback = Callable[[Progress], object]

_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"  # set by deterministic runs


@contextmanager
def api_call(
    name: str,
    arguments: Mapping[str, Any],
    progress: ProgressCallback | None,
    verbose: bool,
    *,
    writes_run: bool = False,
) -> Iterator[list[str]]:
    """Run the block as a call of the API; yields the list of its messages, which grows.

    Nothing is printed unless `verbose`. Warnings are issued as `GANWarning`. Torch's global random state and flags are
    as before when the block ends, however it ends.

    Args:
        name: of the function, for messages and for the files that record the command.
        arguments: of the call; None and False are left out of the record.
        progress: called at the start of each piece of work, and whenever items of it are done.
        writes_run: the block trains, which several ranks must not do at once.

    Raises:
        UsageError: `writes_run` under torchrun.
        KeyboardInterrupt: instead of the SystemExit by which a second signal stops a command.
    """
    if writes_run and (ranks := process_group.launched_ranks()) > 1:
        raise UsageError(f"gan.{name}: runs in one process, not in {ranks} ranks; with torchrun, use the command line")
    messages: list[str] = []

    def on_warning(text: str) -> None:
        messages.append(text)
        warnings.warn(text, GANWarning, stacklevel=_level_of_caller())

    listener = Listener(messages.append, on_warning, progress, is_shown=verbose)
    try:
        with _torch_state_kept(), listening(listener), called_from_python(_call_text(name, arguments)):
            yield messages
    except SystemExit as error:
        if error.code not in [128 + number for number in STOP_SIGNALS]:
            raise  # such as one of the caller's progress callback
        raise_stopped(int(error.code) - 128, "stopped at once")
        raise KeyboardInterrupt("stopped at once by a second signal") from error


def raise_stopped(stopped: int | None, message: str) -> None:
    """Pass on the signal that stopped a training, now that its checkpoint is saved.

    SIGINT raises KeyboardInterrupt. Any other signal is sent again, so that the caller's handler runs, or the process
    ends where there is none.
    """
    if stopped == signal.SIGINT:
        raise KeyboardInterrupt(message)
    if stopped is not None:
        signal.raise_signal(stopped)


def out_argument(out: Path) -> str:
    """The argument `out` at the end of a call in a message; empty for the current folder."""
    return "" if out == Path() else f", out={str(out)!r}"


def _call_text(name: str, arguments: Mapping[str, Any]) -> str:
    """The call as Python, such as `gan.train(name='cats', steps=300)`."""
    given = {key: value for key, value in arguments.items() if value is not None and value is not False}
    texts = {key: repr(os.fspath(value) if isinstance(value, os.PathLike) else value) for key, value in given.items()}
    return f"gan.{name}({', '.join(f'{key}={text}' for key, text in texts.items())})"


class _TorchState:
    """Torch's global random state and the flags that `gan.runtime` sets."""

    def __init__(self) -> None:
        self._random = torch.get_rng_state()
        self._deterministic = torch.are_deterministic_algorithms_enabled()
        self._warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
        self._workspace = os.environ.get(_WORKSPACE)
        self._has_cuda = torch.cuda.is_available()
        if self._has_cuda:
            self._benchmark = torch.backends.cudnn.benchmark
            self._tf32 = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32

    def restore(self) -> None:
        torch.set_rng_state(self._random)
        torch.use_deterministic_algorithms(self._deterministic, warn_only=self._warn_only)
        if self._workspace is None:
            os.environ.pop(_WORKSPACE, None)
        if self._has_cuda:
            torch.backends.cudnn.benchmark = self._benchmark
            torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = self._tf32


_lock = threading.Lock()
_calls = 0  # in progress, in all threads
_before: _TorchState | None = None  # the first of them


@contextmanager
def _torch_state_kept() -> Iterator[None]:
    """Restore torch's global state when the block ends; of calls in several threads, when the last one ends."""
    global _calls, _before
    with _lock:
        if _calls == 0:
            _before = _TorchState()
        _calls += 1
    try:
        yield
    finally:
        with _lock:
            _calls -= 1
            if _calls == 0 and _before is not None:
                _before.restore()


def _level_of_caller() -> int:
    """The `stacklevel` at which a warning issued by the calling function points to the code that called the API."""
    frame, level, own = sys._getframe(1), 1, 1
    while frame.f_back is not None:
        if frame.f_globals.get("__name__", "").startswith(__package__):
            own = level
        frame, level = frame.f_back, level + 1
    return own + 1
