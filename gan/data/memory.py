"""How much memory a set of images takes, and how much there is."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def available_memory() -> int:
    """Bytes that this process may still take: what the machine has free, or its control group allows if that is less.

    Where the system does not tell, more than any set needs.
    """
    return max(0, min(_machine(Path("/proc/meminfo")), _group(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))))


def amount(size: int) -> str:
    """A number of bytes for people, in powers of 1000: `154 MB`."""
    for unit, power in (("GB", 9), ("MB", 6), ("kB", 3)):
        if size >= 10**power:
            value = size / 10**power
            return f"{value:.1f} {unit}" if value < 10 else f"{value:,.0f} {unit}"
    return f"{size} bytes"


def _machine(meminfo: Path) -> int:
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


def _group(membership: Path, root: Path) -> int:
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
                rooms.append(_room(place))
                if place == base:
                    break
    return min(rooms)


def _room(place: Path) -> int:
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
