"""Peak memory of training: on CUDA what torch had allocated, elsewhere what a process of its own grew by."""

from __future__ import annotations

import signal
import sys
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

import torch
from torch import nn

from gan.bench.subject import Subject
from gan.runtime import Runtime

_STEPS = 3


def peak_memory(model: str, norm: str, batch: int, runtime: Runtime) -> int | None:
    """Bytes at the peak of some training steps; None on a system that does not tell.

    Raises:
        MemoryError: there is not enough of it.
    """
    if runtime.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        _train(model, norm, batch, runtime)
        return torch.cuda.max_memory_allocated() - before
    if runtime.device.type != "cpu" or sys.platform == "win32":
        return None
    with ProcessPoolExecutor(1, get_context("spawn"), initializer=_ignore_interrupts) as pool:
        try:
            return pool.submit(_growth, model, norm, batch, runtime.bf16, torch.get_num_threads()).result()
        except BrokenProcessPool as error:  # the system has killed it
            raise MemoryError from error


def _train(model: str, norm: str, batch: int, runtime: Runtime) -> None:
    subject = Subject(model, norm, batch, runtime)
    for _ in range(_STEPS):
        subject.train_step()


def _growth(model: str, norm: str, batch: int, bf16: bool, threads: int) -> int:
    """Bytes that training adds to the largest size of this process."""
    torch.set_num_threads(threads)
    nn.Conv2d(3, 8, 3)(torch.randn(2, 3, 8, 8)).sum().backward()  # the libraries' own memory is not the network's
    before = _largest()
    _train(model, norm, batch, Runtime(torch.device("cpu"), bf16))
    return _largest() - before


def _largest() -> int:
    import resource  # not there on Windows

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all processes of a terminal; the first one decides
