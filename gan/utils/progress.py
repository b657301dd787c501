"""Messages and progress bars on standard error: bars with rate and time left on a terminal, plain lines elsewhere.

Within a call from Python they go to its listener (`gan.utils.listener`) and are printed only if it asks for that.
"""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import copy_context
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.style import Style
from rich.text import Text

from gan.utils.counted import plural
from gan.utils.listener import Progress, current_listener

PLAIN_INTERVAL = 10.0  # seconds between plain lines
_QUIET_SECONDS = 1.0  # after so long without a line, the work in progress is announced by one
_LEAST_SECONDS = 0.4  # of work that is announced, so that short pieces of work in a row print few lines

_console = Console(stderr=True, highlight=False)
_silenced = False
_last_line = time.monotonic()  # when the last line was printed, or the program was loaded
_said: set[str] = set()  # messages of the command line that are printed once


class Advance(Protocol):
    """Reports that `count` more items are done; `note` is shown beside the bar from then on."""

    def __call__(self, count: int = 1, note: str = "") -> None: ...


def silence() -> None:
    """Print no messages and progress of this process from now on, as on all ranks but 0."""
    global _silenced
    _silenced = True


def is_shown() -> bool:
    """True if messages and progress are printed: not on ranks but 0, nor in a call from Python unless it asks."""
    listener = current_listener()
    return not _silenced and (listener is None or listener.is_shown)


def terminal_console() -> Console | None:
    """The console of messages and bars, if it is a terminal."""
    return _console if _console.is_terminal else None


def say(text: str, *, link: Path | None = None) -> None:
    """Print a message to standard error, as standard output is for data.

    Args:
        link: a file or folder; its first mention in `text` is a hyperlink on a terminal.
    """
    if listener := current_listener():
        listener.on_message(text)
    if is_shown():
        _print_line(text, link)


def warn(text: str, *, printed: str = "") -> None:
    """Print a message about a likely problem; a call from Python issues it as a warning instead.

    Args:
        printed: the printed line, if it differs from the text.
    """
    if listener := current_listener():
        listener.on_warning(text)
    elif not _silenced:
        _print_line(printed or text, None)


def is_new(text: str) -> bool:
    """True at the first call with a text: in a call from Python at the first of that call, else of this process."""
    listener = current_listener()
    said = listener.said if listener else _said
    if text in said:
        return False
    said.add(text)
    return True


def _print_line(text: str, link: Path | None) -> None:
    global _last_line
    _last_line = time.monotonic()
    try:
        if _console.is_terminal:
            _console.print(_linked(text, link), soft_wrap=True)  # above the bar, where one is drawn
        else:
            print(text, file=sys.stderr, flush=True)
    except OSError:  # the reader is gone (`2>&1 | head`, a closed terminal); the work continues
        silence()
        sys.stderr = open(os.devnull, "w")  # else the interpreter fails at exit, when it flushes the stream


def _linked(text: str, link: Path | None) -> Text:
    """The text, with the path as a hyperlink (OSC 8) to its file."""
    message = Text(text)
    start = text.find(str(link)) if link else -1
    if link and start >= 0:
        message.stylize(Style(link=link.resolve().as_uri()), start, start + len(str(link)))
    return message


@contextmanager
def _announced(text: str) -> Iterator[None]:
    """Print a plain line once nothing was printed for `_QUIET_SECONDS` and the block has taken `_LEAST_SECONDS`."""
    seconds = max(_LEAST_SECONDS, _last_line + _QUIET_SECONDS - time.monotonic())
    timer = threading.Timer(seconds, copy_context().run, (say, text))  # for the listener of this call
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def working(description: str) -> Iterator[None]:
    """Show that work without countable items goes on: a spinner on a terminal, elsewhere a line after a second."""
    if not is_shown():
        yield
    elif _console.is_terminal:
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        with Bar(*columns, console=_console, transient=True) as bar:
            bar.add_task(description, total=None)
            yield
    else:
        with _announced(f"{description} ..."):
            yield


@contextmanager
def progress(
    description: str, total: int, unit: str = "image", *, start: int = 0, per_item: int = 1
) -> Iterator[Advance]:
    """Show the progress of `total` items; yields the function that reports items as done.

    On a terminal it draws a bar. Elsewhere it prints a line after a second without one, so that short work prints
    nothing, and then one every ten seconds. In a call from Python, the callback gets the start and each advance.

    Args:
        unit: what the rate counts, in the singular.
        start: items that were done before, in resumed work; they do not count for the rate.
        per_item: units of the rate for each item: a training step has a batch of images.
    """
    shown: AbstractContextManager[Advance] = nullcontext(_show_nothing)
    if is_shown():
        shown = _shown_progress(description, total, unit, start, per_item)
    listener = current_listener()
    report = listener.on_progress if listener else None
    with shown as show:
        if report is None:
            yield show
            return
        done, last_note = start, ""

        def advance(count: int = 1, note: str = "") -> None:
            nonlocal done, last_note
            done += count
            last_note = note or last_note
            show(count, note)
            report(Progress(description, done, total, last_note))

        report(Progress(description, start, total, ""))
        yield advance


def _show_nothing(count: int = 1, note: str = "") -> None:
    pass


@contextmanager
def _shown_progress(description: str, total: int, unit: str, start: int, per_item: int) -> Iterator[Advance]:
    """The bar of `progress`, or its lines."""
    began, done = time.monotonic(), 0

    def rate() -> float:
        return done / max(time.monotonic() - began, 1e-9)

    if _console.is_terminal:
        with new_bars(_console) as bar:
            task = bar.add_task(description, total=total, completed=start, rate="", note="")

            def advance_bar(count: int = 1, note: str = "") -> None:
                nonlocal done
                done += count
                shown = {"note": note} if note else {}
                bar.update(task, advance=count, rate=rate_text(rate() * per_item, unit), **shown)  # type: ignore[arg-type]

            yield advance_bar
        return

    printed, last_note = began, ""

    def advance_plain(count: int = 1, note: str = "") -> None:
        nonlocal done, printed, last_note
        done += count
        last_note = note or last_note
        now = time.monotonic()
        if now - printed >= PLAIN_INTERVAL:
            printed = now
            left = (total - start - done) / max(rate(), 1e-9)
            text = f"{description}: {start + done}/{total}, {rate_text(rate() * per_item, unit)}, {left:.0f} s left"
            say(f"{text}  {last_note}".rstrip())

    if start >= total:
        yield advance_plain
        return
    with _announced(f"{description}: {start}/{total}"):
        yield advance_plain


def new_bars(console: Console) -> Bar:
    """Bars with description, items, rate, time left and note; tasks have the fields `rate` and `note`."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    return Bar(*columns, console=console, transient=True)


def rate_text(rate: float, unit: str) -> str:
    """Return a rate, as `52 images/s`, or `1.4 s per image` if it is at most about one a second."""
    if rate >= 1.5:
        return f"{rate:.0f} {plural(unit)}/s"
    return f"{1 / rate:.1f} s per {unit}" if rate > 0 else ""
