"""Peak memory of training: torch's allocations on CUDA, the growth of a separate process on a CPU."""

import gc
import signal
import sys
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any

import torch

from gan.bench.workload import Workload
from gan.config import plugins
from gan.config.choices import NORMS
from gan.runtime import Runtime
from gan.utils.memory import is_out_of_memory
from gan.utils.peak_memory import peak_memory_bytes, reset_peak_memory

_STEPS = 3


def training_peak_memory(model: str, norm: str, batch: int, runtime: Runtime) -> int | None:
    """Return the peak memory of some training steps in bytes; None where it cannot be measured.

    Raises:
        MemoryError: there is not enough memory.
    """
    if runtime.device.type == "cuda":
        return _growth(model, norm, batch, runtime)
    if runtime.device.type != "cpu" or sys.platform == "win32":
        return None
    references = NORMS.references(norm)
    with ProcessPoolExecutor(1, get_context("spawn"), initializer=_prepare, initargs=(references,)) as pool:
        try:
            return pool.submit(_growth_in_child, model, norm, batch, runtime, torch.get_num_threads()).result()
        except BrokenProcessPool as error:  # killed by the system
            raise MemoryError from error


def _growth_in_child(*arguments: Any) -> int:
    """`_growth`, with the file and line of an error in the user's own code, which do not reach the parent otherwise."""
    try:
        return _growth(*arguments)
    except Exception as error:
        if not is_out_of_memory(error) and (message := plugins.error_message(error)):
            raise plugins.PluginError(message) from None
        raise


def _growth(model: str, norm: str, batch: int, runtime: Runtime, threads: int | None = None) -> int:
    """Train for some steps and return by how many bytes memory grows at most."""
    device = runtime.device
    if threads is not None:
        torch.set_num_threads(threads)
    _train_steps(Workload("cnn3", "bn", 2, runtime))  # allocates the libraries' own memory, which is not counted
    gc.collect()
    before = torch.cuda.memory_allocated(device) if device.type == "cuda" else peak_memory_bytes(device)
    workload = Workload(model, norm, batch, runtime)
    if device.type == "cuda":  # cuDNN tried algorithms that need much memory in the first step
        reset_peak_memory(device)
    _train_steps(workload)
    return peak_memory_bytes(device) - before


def _train_steps(workload: Workload) -> None:
    for _ in range(_STEPS):
        workload.train_step()


def _prepare(references: list[str]) -> None:
    """Prepare the process: the user's own code with these references may run in it."""
    plugins.allow(references)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends Ctrl-C to all processes; the parent handles it
