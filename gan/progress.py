"""Progress of long work: a bar with rate and time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

_PLAIN_INTERVAL = 10.0  # seconds between plain lines

Advance = Callable[[int], None]


def say(text: str) -> None:
    """Print a line for the person at the terminal, to standard error, so that standard output stays data."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def progress(description: str, total: int, unit: str = "images", *, start: int = 0) -> Iterator[Advance]:
    """Show how far `total` items have come; yields `advance(n)`, to be called after each `n` items are done.

    On a terminal it draws a bar. Elsewhere it prints a line every ten seconds, and so nothing at all for short work.
    `start` items count as done before (resumed work) and do not enter the rate.
    """
    console = Console(stderr=True)
    if console.is_terminal:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task(description, total=total, completed=start, rate="")
            began, done = time.monotonic(), 0

            def advance_bar(count: int) -> None:
                nonlocal done
                done += count
                rate = done / max(time.monotonic() - began, 1e-9)
                bar.update(task, advance=count, rate=f"{rate:.0f} {unit}/s")

            yield advance_bar
        return

    began, done = time.monotonic(), 0
    told = began

    def advance_plain(count: int) -> None:
        nonlocal done, told
        done += count
        now = time.monotonic()
        if now - told >= _PLAIN_INTERVAL:
            told = now
            rate = done / (now - began)
            left = (total - start - done) / max(rate, 1e-9)
            say(f"{description}: {start + done}/{total} {unit}, {rate:.0f} {unit}/s, {left:.0f} s left")

    yield advance_plain
