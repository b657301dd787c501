"""Process many images in threads, where threads help. Pillow releases the GIL while it decodes."""

import time
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from contextvars import copy_context
from typing import TypeVar

from gan.data.source import BadImage, Reader, Source
from gan.utils.cores import available_cores
from gan.utils.progress import progress

MapResult = TypeVar("MapResult")

# Seconds per image above which threads are faster. Smaller images spend their time in Python, which runs one thread at
# a time: two threads then decode a third fewer of them than one.
_SLOW = 5e-4


def worker_count() -> int:
    """Number of decoding threads: one for each core that this process may use."""
    return available_cores()


def thread_map(function: Callable[[range], MapResult], count: int, size: int = 16) -> Generator[MapResult, None, None]:
    """Apply `function` to the numbers 0 to count - 1 in runs of `size`, and yield its results in order.

    Work starts in the calling thread. After two consecutive slow runs, the rest runs in threads, a few runs ahead, so
    that few results are in memory at a time. Use it within `contextlib.closing`: leaving the block, by Ctrl-C too,
    stops the threads.
    """
    runs = deque(range(start, min(start + size, count)) for start in range(0, count, size))
    slow = 0
    while runs and slow < 2:  # a single slow run may have loaded a decoder, or waited for the disk to wake
        run = runs.popleft()
        start_time = time.perf_counter()
        result = function(run)
        slow = slow + 1 if time.perf_counter() - start_time > _SLOW * len(run) else 0
        yield result
    if not runs:
        return
    pool = ThreadPoolExecutor(worker_count())
    pending: deque[Future[MapResult]] = deque()
    try:
        for run in runs:
            pending.append(pool.submit(copy_context().run, function, run))
            if len(pending) > 2 * worker_count():
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def map_images(
    source: Source, description: str, function: Callable[[Reader, int], MapResult]
) -> Generator[MapResult | BadImage, None, None]:
    """Yield `function(read, index)`, or the BadImage that it raised, for each image of a source in order.

    Shows a progress bar. Use it within `contextlib.closing`, as `thread_map`.
    """

    def process(run: range) -> list[MapResult | BadImage]:
        results: list[MapResult | BadImage] = []
        with source.opened() as read:
            for index in run:
                try:
                    results.append(function(read, index))
                except BadImage as error:
                    results.append(error)
        return results

    count = len(source.listing.names)
    with progress(description, count) as advance, closing(thread_map(process, count)) as runs:
        for results in runs:
            yield from results
            advance(len(results))


def process_images(
    source: Source, description: str, function: Callable[[Reader, int], MapResult]
) -> tuple[dict[int, MapResult], list[tuple[str, str]]]:
    """Apply `function(read, index)` to all images of a source.

    Returns:
        the results by image number, in order, and (name, reason) of each image that raised BadImage.
    """
    results: dict[int, MapResult] = {}
    bad: list[tuple[str, str]] = []
    with closing(map_images(source, description, function)) as outcomes:
        for index, outcome in enumerate(outcomes):
            if isinstance(outcome, BadImage):
                bad.append((source.listing.names[index], str(outcome)))
            else:
                results[index] = outcome
    return results, bad
