"""How much memory work takes at most: of a CUDA device, or of the process in main memory."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import torch

_RESET = Path("/proc/self/clear_refs")  # 5 makes the highest resident size the present one (proc(5))


def peak_bytes(device: torch.device) -> int:
    """The most that was held so far, since the start or the last `reset_peak`."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # Kilobytes on Linux, bytes on macOS.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def reset_peak(device: torch.device) -> bool:
    """Count from now on; False where the system has no way to, so that a peak is that of all work before too."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return True
    try:
        _RESET.write_text("5")
    except OSError:
        return False
    return True
