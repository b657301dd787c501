"""Main memory that is kept for what comes next, and how much memory work takes at most."""

from __future__ import annotations

import ctypes
import gc
import sys
from pathlib import Path

import torch

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_RESET = Path("/proc/self/clear_refs")  # 5 makes the highest resident size the present one (proc(5))
_STATUS = Path("/proc/self/status")

# glibc's <malloc.h>; the threshold of old versions is at most 32 MiB.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_THRESHOLDS = (2**30, 2**25)

_SIGNS_OF_LACK = (
    "not enough memory",
    "can't allocate memory",
    "out of memory",
    "alloc_cpu.cpp",
    "Storage size calculation overflowed",
)


def lacks_memory(error: BaseException) -> bool:
    """Whether an error says that there is not enough memory, of the machine or of a GPU."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return any(sign in str(error) for sign in _SIGNS_OF_LACK)


def keep_freed() -> bool:
    """Let the C library keep what is freed for what is wanted next; False where it is not glibc.

    A training step frees and wants tensors of the same sizes again and again. Left alone, glibc gives large ones back
    to the system, which clears every page anew when it is touched (mallopt(3)): up to a fifth of the time of a step.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return False
    kept = any(mallopt(_MMAP_THRESHOLD, size) for size in _THRESHOLDS)
    return bool(kept and mallopt(_TRIM_THRESHOLD, 2**31 - 1) and mallopt(_TOP_PAD, 2**26))


def give_back() -> None:
    """Give what was freed and kept back to the system, where the C library is glibc."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        gc.collect()  # networks that nobody uses any more
        trim(0)


def peak_bytes(device: torch.device) -> int:
    """The most that was held so far, since the start or the last `reset_peak`; 0 where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    for line in _STATUS.read_text().splitlines() if _STATUS.exists() else []:
        if line.startswith("VmHWM:"):  # ru_maxrss of Linux begins at the size of the process that started this one
            return int(line.split()[1]) * 1024
    if resource is None:
        return 0
    # Kilobytes on Linux, bytes on macOS.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def reset_peak(device: torch.device) -> bool:
    """Count from now on; False where the system has no way to, so that a peak is that of all work before too.

    What earlier work has freed is given back first, or it would be counted again.
    """
    if device.type == "cuda":
        gc.collect()  # networks that nobody uses any more
        torch.cuda.reset_peak_memory_stats(device)
        return True
    give_back()
    try:
        _RESET.write_text("5")
    except OSError:
        return False
    return True
