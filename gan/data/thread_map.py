"""Work on many images, in threads where they help. Pillow lets other threads run while it decodes."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

MapResult = TypeVar("MapResult")

# Seconds for an image from which on threads are faster. Smaller ones take their time in Python, of which one thread
# runs at a time: two threads then decode a third fewer of them than one.
_SLOW = 5e-4


def worker_count() -> int:
    """Threads that decode at a time: one for each core."""
    return os.cpu_count() or 1


def thread_map(function: Callable[[range], MapResult], count: int, size: int = 16) -> Generator[MapResult, None, None]:
    """`function` of the numbers 0 to count - 1 in runs of `size`, in their order.

    It begins in the calling thread. After two runs on end that were slow, the rest is worked out in threads, a few runs
    ahead, so that few results are held at a time. To be used within `contextlib.closing`: when the block is left, on
    Ctrl-C too, the threads stop.
    """
    runs = deque(range(start, min(start + size, count)) for start in range(0, count, size))
    slow = 0
    while runs and slow < 2:  # a single one may have loaded a decoder, or waited for the disk to wake
        run = runs.popleft()
        began = time.perf_counter()
        result = function(run)
        slow = slow + 1 if time.perf_counter() - began > _SLOW * len(run) else 0
        yield result
    if not runs:
        return
    pool = ThreadPoolExecutor(worker_count())
    ahead: deque[Future[MapResult]] = deque()
    try:
        for run in runs:
            ahead.append(pool.submit(function, run))
            if len(ahead) > 2 * worker_count():
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
