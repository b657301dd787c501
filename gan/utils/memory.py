"""Memory: out-of-memory errors, the C library's allocator, and available memory."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from pathlib import Path

_OUT_OF_MEMORY_TEXTS = (
    "not enough memory",
    "can't allocate memory",
    "out of memory",
    "alloc_cpu.cpp",
    "Storage size calculation overflowed",
)

# Parameters of mallopt in glibc's <malloc.h>. The largest mmap threshold of old versions is 32 MiB.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_MMAP_THRESHOLDS = (2**30, 2**25)


def is_out_of_memory(error: BaseException) -> bool:
    """True if the error says that the machine or a GPU has too little memory."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's, without importing it
        return True
    return any(text in str(error) for text in _OUT_OF_MEMORY_TEXTS)


def keep_freed_memory() -> bool:
    """Make glibc keep freed memory for later allocations; False with another C library.

    A training step frees and allocates tensors of the same sizes again and again. By default glibc returns large ones
    to the system, which clears every page again when it is next used (mallopt(3)): up to a fifth of a step's time.
    """
    mallopt = _glibc_function("mallopt")
    if mallopt is None:
        return False
    is_set = any(mallopt(_MMAP_THRESHOLD, size) for size in _MMAP_THRESHOLDS)
    return bool(is_set and mallopt(_TRIM_THRESHOLD, 2**31 - 1) and mallopt(_TOP_PAD, 2**26))


def release_freed_memory() -> None:
    """Return freed memory to the system, if the C library is glibc."""
    malloc_trim = _glibc_function("malloc_trim")
    if malloc_trim is not None:
        gc.collect()  # networks in reference cycles
        malloc_trim(0)


def _glibc_function(name: str) -> ctypes._NamedFuncPointer | None:
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None


def available_memory() -> int:
    """Bytes that this process may still allocate: the free memory of the machine, or of its control group if less.

    sys.maxsize if the system does not report it.
    """
    machine = _machine_memory(Path("/proc/meminfo"))
    return max(0, min(machine, _control_group_memory(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))))


def format_bytes(size: int) -> str:
    """A readable number of bytes, in powers of 1000: `154 MB`."""
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
    for pages in ("SC_AVPHYS_PAGES", "SC_PHYS_PAGES"):  # macOS has only the second
        try:
            return os.sysconf(pages) * os.sysconf("SC_PAGE_SIZE")
        except (AttributeError, ValueError, OSError):  # Windows has no sysconf
            continue
    return sys.maxsize


def _control_group_memory(membership: Path, root: Path) -> int:
    """Memory left in the control groups (version 2 or 1) of this process."""
    available = [sys.maxsize]
    try:
        memberships = [line.split(":", 2) for line in membership.read_text().splitlines()]
    except OSError:
        memberships = []
    for _, controllers, path in (parts for parts in memberships if len(parts) == 3):
        if controllers in ("", "memory"):
            base = root if controllers == "" else root / "memory"
            innermost = base / path.lstrip("/")
            # In a container the path may be that outside of it; the root is then the group itself.
            for group in (innermost, *innermost.parents):
                available.append(_group_memory(group))
                if group == base:
                    break
    return min(available)


def _group_memory(group: Path) -> int:
    files = (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes"))
    for limit_file, usage_file in files:
        try:
            limit = (group / limit_file).read_text().strip()
            if limit == "max":
                return sys.maxsize
            used = int((group / usage_file).read_text())
            return int(limit) - used + _reclaimable(group / "memory.stat")
        except (OSError, ValueError):
            continue
    return sys.maxsize


def _reclaimable(stat: Path) -> int:
    """Bytes of cached files that the group frees when it needs memory."""
    try:
        values = dict(line.split() for line in stat.read_text().splitlines())
        return int(values.get("total_inactive_file", values.get("inactive_file", 0)))
    except (OSError, ValueError):
        return 0
