"""Peak memory of training: on CUDA what torch had allocated, elsewhere what a process of its own grew by."""

from __future__ import annotations

import gc
import signal
import sys
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

import torch

from gan.bench.workload import Workload
from gan.runtime import Runtime
from gan.utils.memory import peak_memory_bytes, reset_peak_memory

_STEPS = 3


def training_peak_memory(model: str, norm: str, batch: int, runtime: Runtime) -> int | None:
    """Bytes at the peak of some training steps; None on a system that does not tell.

    Raises:
        MemoryError: there is not enough of it.
    """
    if runtime.device.type == "cuda":
        _train("cnn3", "bn", 2, runtime)  # what the libraries take for themselves is not the network's
        gc.collect()
        before = torch.cuda.memory_allocated(runtime.device)
        subject = Workload(model, norm, batch, runtime)  # in whose first step cuDNN tries algorithms, in much memory
        reset_peak_memory(runtime.device)
        _steps(subject)
        return peak_memory_bytes(runtime.device) - before
    if runtime.device.type != "cpu" or sys.platform == "win32":
        return None
    with ProcessPoolExecutor(1, get_context("spawn"), initializer=_ignore_interrupts) as pool:
        try:
            return pool.submit(_growth, model, norm, batch, runtime.bf16, torch.get_num_threads()).result()
        except BrokenProcessPool as error:  # the system has killed it
            raise MemoryError from error


def _train(model: str, norm: str, batch: int, runtime: Runtime) -> None:
    _steps(Workload(model, norm, batch, runtime))


def _steps(subject: Workload) -> None:
    for _ in range(_STEPS):
        subject.train_step()


def _growth(model: str, norm: str, batch: int, bf16: bool, threads: int) -> int:
    """Bytes that training adds to the largest size of this process."""
    torch.set_num_threads(threads)
    cpu = torch.device("cpu")
    runtime = Runtime(cpu, bf16)
    _train("cnn3", "bn", 2, runtime)  # what the libraries take for themselves is not the network's
    before = peak_memory_bytes(cpu)
    _train(model, norm, batch, runtime)
    return peak_memory_bytes(cpu) - before


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all processes of a terminal; the first one decides
