"""Peak memory of this process, read without torch."""

import sys
from pathlib import Path

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_STATUS = Path("/proc/self/status")


def peak_process_memory() -> int:
    """Return the largest resident size of this process so far, in bytes; 0 where the system does not report it."""
    for line in _STATUS.read_text().splitlines() if _STATUS.exists() else []:
        if line.startswith("VmHWM:"):  # on Linux, ru_maxrss starts at the size of the parent process
            return int(line.split()[1]) * 1024
    if resource is None:
        return 0
    # Kilobytes on Linux, bytes on macOS.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
