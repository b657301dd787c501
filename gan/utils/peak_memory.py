"""Peak memory of work on a device."""

import gc
from pathlib import Path

import torch

from gan.utils.memory import release_freed_memory
from gan.utils.process_memory import peak_process_memory

_CLEAR_REFS = Path("/proc/self/clear_refs")  # writing 5 resets the peak resident size (proc(5))


def peak_memory_bytes(device: torch.device) -> int:
    """Peak memory since the start or the last `reset_peak_memory`; 0 if the system does not report it.

    On CUDA that is the memory of tensors on the device, else the resident size of the process.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return peak_process_memory()


def reset_peak_memory(device: torch.device) -> bool:
    """Start a new measurement of peak memory; False if the system cannot, so that a peak includes earlier work.

    Memory that earlier work has freed is returned to the system first, as it would be counted again.
    """
    if device.type == "cuda":
        gc.collect()  # networks in reference cycles
        torch.cuda.reset_peak_memory_stats(device)
        return True
    release_freed_memory()
    try:
        _CLEAR_REFS.write_text("5")
    except OSError:
        return False
    return True
