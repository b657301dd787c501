"""Progress of long work: a bar with rate and time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

_PLAIN_INTERVAL = 10.0  # seconds between plain lines

_console = Console(stderr=True, highlight=False)
_hushed = False


class Advance(Protocol):
    """Call it after `count` more items are done; `note` is shown beside the bar from then on."""

    def __call__(self, count: int = 1, note: str = "") -> None: ...


def silence() -> None:
    """From now on this process says and shows nothing: among several ranks, one speaks for all."""
    global _hushed
    _hushed = True


def say(text: str) -> None:
    """Print a line for the person at the terminal, to standard error, so that standard output stays data."""
    if _hushed:
        return
    try:
        if _console.is_terminal:
            _console.print(text, markup=False, soft_wrap=True)  # above the bar, where one is drawn
        else:
            print(text, file=sys.stderr, flush=True)
    except OSError:  # nobody reads it any more: `2>&1 | head`, a terminal that was closed; the work goes on
        silence()
        sys.stderr = open(os.devnull, "w")  # or the interpreter would fail at its end, with what it could not write


@contextmanager
def progress(
    description: str, total: int, unit: str = "images", *, start: int = 0, per_item: int = 1
) -> Iterator[Advance]:
    """Show how far `total` items have come; yields a function to be called after each few items are done.

    On a terminal it draws a bar. Elsewhere it prints a line every ten seconds, and so nothing at all for short work.

    Args:
        start: items that count as done before (resumed work) and do not enter the rate.
        per_item: how many units an item holds, for the rate: a training step holds a batch of images.
    """
    began, done = time.monotonic(), 0

    def rate() -> float:
        return done / max(time.monotonic() - began, 1e-9)

    if _console.is_terminal and not _hushed:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=_console, transient=True) as bar:
            task = bar.add_task(description, total=total, completed=start, rate="", note="")

            def advance_bar(count: int = 1, note: str = "") -> None:
                nonlocal done
                done += count
                shown = {"note": note} if note else {}
                bar.update(task, advance=count, rate=f"{rate() * per_item:.0f} {unit}/s", **shown)  # type: ignore[arg-type]

            yield advance_bar
        return

    told, last_note = began, ""

    def advance_plain(count: int = 1, note: str = "") -> None:
        nonlocal done, told, last_note
        done += count
        last_note = note or last_note
        now = time.monotonic()
        if now - told >= _PLAIN_INTERVAL:
            told = now
            left = (total - start - done) / max(rate(), 1e-9)
            text = f"{description}: {start + done}/{total}, {rate() * per_item:.0f} {unit}/s, {left:.0f} s left"
            say(f"{text}  {last_note}".rstrip())

    yield advance_plain
