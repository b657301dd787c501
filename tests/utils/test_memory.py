"""Freed memory that is kept, in a process of its own: settings of the C library cannot be undone."""

from __future__ import annotations

import json
import platform
import subprocess
import sys

import pytest

_TOUCHED = """
import json, resource, torch
from gan.utils import memory

def pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(10 * 2**20)  # 40 MiB: more than glibc ever keeps of itself
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

pages()
given_back = pages()
assert memory.keep_freed_memory()
pages()
print(json.dumps([given_back, pages()]))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_freed_memory_is_used_again() -> None:
    """Pages that the system gave in ten rounds of the same work."""
    done = subprocess.run([sys.executable, "-c", _TOUCHED], capture_output=True, text=True, check=True)
    given_back, kept = json.loads(done.stdout)
    assert 20 * kept < given_back, (kept, given_back)


_PEAK = """
import json, sys, torch
from gan.utils import memory, peak_memory

cpu = torch.device("cpu")
memory.keep_freed_memory()
work = [torch.ones(10 * 2**20) for _ in range(10)]  # 400 MiB
del work
known = peak_memory.reset_peak_memory(cpu)
print(json.dumps([known, peak_memory.peak_memory_bytes(cpu)]))
work = [torch.ones(10 * 2**20) for _ in range(10)]
print(json.dumps(peak_memory.peak_memory_bytes(cpu)))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_a_peak_has_nothing_of_work_that_is_over() -> None:
    """Or it would follow the order in which trainings are measured."""
    mine = b"1" * (600 * 2**20)  # nor anything of the process that starts it
    done = subprocess.run([sys.executable, "-c", _PEAK], capture_output=True, text=True, check=True)
    del mine
    (known, before), after = map(json.loads, done.stdout.splitlines())
    if not known:
        pytest.skip("the system cannot count a peak anew")
    assert after - before > 350 * 2**20, (before, after)
