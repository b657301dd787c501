"""Main memory that is kept for what comes next, and how much memory work takes at most."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from pathlib import Path

import torch

from gan.utils.process_memory import peak_process_memory

_RESET = Path("/proc/self/clear_refs")  # 5 makes the highest resident size the present one (proc(5))

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


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there is not enough memory, of the machine or of a GPU."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return any(sign in str(error) for sign in _SIGNS_OF_LACK)


def keep_freed_memory() -> bool:
    """Let the C library keep what is freed for what is wanted next; False where it is not glibc.

    A training step frees and wants tensors of the same sizes again and again. Left alone, glibc gives large ones back
    to the system, which clears every page anew when it is touched (mallopt(3)): up to a fifth of the time of a step.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return False
    kept = any(mallopt(_MMAP_THRESHOLD, size) for size in _THRESHOLDS)
    return bool(kept and mallopt(_TRIM_THRESHOLD, 2**31 - 1) and mallopt(_TOP_PAD, 2**26))


def release_freed_memory() -> None:
    """Give what was freed and kept back to the system, where the C library is glibc."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        gc.collect()  # networks that nobody uses any more
        trim(0)


def peak_memory_bytes(device: torch.device) -> int:
    """The most that was held so far, since the start or the last `reset_peak`; 0 where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return peak_process_memory()


def reset_peak_memory(device: torch.device) -> bool:
    """Count from now on; False where the system has no way to, so that a peak is that of all work before too.

    What earlier work has freed is given back first, or it would be counted again.
    """
    if device.type == "cuda":
        gc.collect()  # networks that nobody uses any more
        torch.cuda.reset_peak_memory_stats(device)
        return True
    release_freed_memory()
    try:
        _RESET.write_text("5")
    except OSError:
        return False
    return True


def available_memory() -> int:
    """Bytes that this process may still take: what the machine has free, or its control group allows if that is less.

    Where the system does not tell, more than any set needs.
    """
    return max(
        0,
        min(
            _machine_memory(Path("/proc/meminfo")),
            _control_group_memory(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")),
        ),
    )


def format_bytes(size: int) -> str:
    """A number of bytes for people, in powers of 1000: `154 MB`."""
    for unit, power in (("GB", 9), ("MB", 6), ("kB", 3)):
        if size >= 10**power:
            value = size / 10**power
            return f"{value:.1f} {unit}" if value < 10 else f"{value:,.0f} {unit}"
    return f"{size} bytes"


def _machine_memory(meminfo: Path) -> int:
    try:
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    for pages in ("SC_AVPHYS_PAGES", "SC_PHYS_PAGES"):  # macOS has the second alone
        try:
            return os.sysconf(pages) * os.sysconf("SC_PAGE_SIZE")
        except (AttributeError, ValueError, OSError):  # Windows has no sysconf
            continue
    return sys.maxsize


def _control_group_memory(membership: Path, root: Path) -> int:
    """What the control groups (version 2, or 1) that this process is in have left for it."""
    rooms = [sys.maxsize]
    try:
        own = [line.split(":", 2) for line in membership.read_text().splitlines()]
    except OSError:
        own = []
    for _, controllers, path in (parts for parts in own if len(parts) == 3):
        if controllers in ("", "memory"):
            base = root if controllers == "" else root / "memory"
            inner = base / path.lstrip("/")
            # Within a container the path may be one of the world outside; the root is then the group itself.
            for place in (inner, *inner.parents):
                rooms.append(_group_room(place))
                if place == base:
                    break
    return min(rooms)


def _group_room(place: Path) -> int:
    files = (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes"))
    for limit, usage in files:
        try:
            allowed = (place / limit).read_text().strip()
            if allowed == "max":
                return sys.maxsize
            used = int((place / usage).read_text())
            return int(allowed) - used + _reclaimable(place / "memory.stat")
        except (OSError, ValueError):
            continue
    return sys.maxsize


def _reclaimable(stat: Path) -> int:
    """Bytes of files kept in memory that the group gives up when it needs room."""
    try:
        values = dict(line.split() for line in stat.read_text().splitlines())
        return int(values.get("total_inactive_file", values.get("inactive_file", 0)))
    except (OSError, ValueError):
        return 0
