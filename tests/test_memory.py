"""Memory that is kept, in a process of its own: what is told to the C library cannot be taken back."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

_TOUCHED = """
import resource, sys, torch
from gan import memory
if sys.argv[1] == "kept":
    assert memory.keep_freed()
def work():
    held = [torch.ones(2**20) for _ in range(20)]  # 80 MB
work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    """Pages that the system gave in ten rounds of the same work, after a first."""
    done = subprocess.run([sys.executable, "-c", _TOUCHED, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_freed_memory_is_used_again() -> None:
    assert 4 * faults("kept") < faults("given back")
