"""Measurements taken in turn, so that changes in the machine's speed affect all of them equally."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from gan.utils.counted import counted
from gan.utils.progress import progress, say

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def seconds_per_step(step: Callable[[], object], seconds: float, group: int = 1) -> float:
    """Run steps for at least so many seconds; return the mean seconds of one.

    Args:
        step: runs one step and waits for the device.
        group: number of steps that are run together; at least one group is run.
    """
    began, steps = time.perf_counter(), 0
    while steps == 0 or time.perf_counter() - began < seconds:
        for _ in range(group):
            step()
        steps += group
    return (time.perf_counter() - began) / steps


def take_turns(
    items: Sequence[_Item],
    rounds: int,
    measure: Callable[[_Item], _Result],
    *,
    label: str,
    deadline: float | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[list[_Result]]:
    """Measure every item once in each round, every other round in reverse order.

    Args:
        label: name of the work on the progress bar.
        deadline: value of `time.monotonic()`; no round but the first starts if it would end later.
        stopped: called before each measurement; True ends the iteration without the current round.

    Yields:
        the measurements of each finished round, in the order of `items`.
    """
    order = range(len(items))
    with progress(label, rounds * len(items), "turn") as advance:
        for number in range(rounds):
            start = time.monotonic()
            results: dict[int, _Result] = {}
            for index in order if number % 2 == 0 else reversed(order):
                if stopped():
                    return
                results[index] = measure(items[index])
                advance()
            yield [results[index] for index in order]
            now = time.monotonic()
            if deadline is not None and number + 1 < rounds and now + (now - start) > deadline:
                say(f"{label}: --seconds reached after {number + 1} of {counted(rounds, 'round')}")
                return
