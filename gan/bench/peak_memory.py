"""Peak memory of training: torch's allocations on CUDA, the growth of a separate process on a CPU."""

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
from gan.utils.process_memory import peak_process_memory

_STEPS = 3


def training_peak_memory(model: str, norm: str, batch: int, runtime: Runtime) -> int | None:
    """Return the peak memory of some training steps in bytes; None where it cannot be measured.

    Raises:
        MemoryError: there is not enough memory.
    """
    if runtime.device.type == "cuda":
        _train("cnn3", "bn", 2, runtime)  # allocates the libraries' own memory, which is not counted
        gc.collect()
        before = torch.cuda.memory_allocated(runtime.device)
        # Its first step, in which cuDNN tries algorithms that need much memory, is not counted either.
        workload = Workload(model, norm, batch, runtime)
        reset_peak_memory(runtime.device)
        _train_steps(workload)
        return peak_memory_bytes(runtime.device) - before
    if runtime.device.type != "cpu" or sys.platform == "win32":
        return None
    with ProcessPoolExecutor(1, get_context("spawn"), initializer=_ignore_interrupts) as pool:
        try:
            return pool.submit(_growth, model, norm, batch, runtime.bf16, torch.get_num_threads()).result()
        except BrokenProcessPool as error:  # killed by the system
            raise MemoryError from error


def _train(model: str, norm: str, batch: int, runtime: Runtime) -> None:
    _train_steps(Workload(model, norm, batch, runtime))


def _train_steps(workload: Workload) -> None:
    for _ in range(_STEPS):
        workload.train_step()


def _growth(model: str, norm: str, batch: int, bf16: bool, threads: int) -> int:
    """Train in this process and return by how many bytes its peak memory grows."""
    torch.set_num_threads(threads)
    runtime = Runtime(torch.device("cpu"), bf16)
    _train("cnn3", "bn", 2, runtime)  # allocates the libraries' own memory, which is not counted
    before = peak_process_memory()
    _train(model, norm, batch, runtime)
    return peak_process_memory() - before


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends Ctrl-C to all processes; the parent handles it
