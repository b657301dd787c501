"""Progress of several trainings at once: a bar for each on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from rich.progress import Progress as RichProgress
from rich.progress import TaskID

from gan.utils.listener import Progress, current_listener
from gan.utils.progress import PLAIN_INTERVAL, is_shown, new_bars, rate_text, say, terminal_console


@dataclass
class _Row:
    """The work of one process: that of a description, from its first report on."""

    description: str
    first: int
    began: float = field(default_factory=time.monotonic)
    printed: float = field(default_factory=time.monotonic)

    def rate(self, done: int) -> float:
        return (done - self.first) / max(time.monotonic() - self.began, 1e-9)


class Bars:
    """A context that shows the latest progress of each process."""

    def __init__(self) -> None:
        self._rows: dict[str, _Row] = {}
        self._tasks: dict[str, TaskID] = {}
        self._rich: RichProgress | None = None
        if is_shown() and (console := terminal_console()):
            self._rich = new_bars(console)

    def __enter__(self) -> Bars:
        if self._rich:
            self._rich.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._rich:
            self._rich.stop()

    def update(self, name: str, progress: Progress) -> None:
        """Show the progress of a process by its name."""
        row = self._rows.get(name)
        if row is None or row.description != progress.description:
            row = self._rows[name] = _Row(progress.description, progress.done)
        label = f"{name}{', ' if progress.description else ''}{progress.description}"
        listener = current_listener()
        if listener and listener.on_progress:
            listener.on_progress(Progress(label, progress.done, progress.total, progress.note))
        rate = row.rate(progress.done)
        if self._rich:
            if name not in self._tasks:
                self._tasks[name] = self._rich.add_task(label, total=progress.total, rate="", note="")
            self._rich.update(
                self._tasks[name],
                description=label,
                completed=progress.done,
                total=progress.total,
                rate="" if progress.description else rate_text(rate, "step"),
                note=progress.note,
            )
        elif time.monotonic() - row.printed >= PLAIN_INTERVAL:
            row.printed = time.monotonic()
            left = (progress.total - progress.done) / max(rate, 1e-9)
            speed = f", {rate_text(rate, 'step')}, {left:.0f} s left" if progress.done > row.first else ""
            say(f"{label}: {progress.done}/{progress.total}{speed}  {progress.note}".rstrip())

    def remove(self, name: str) -> None:
        """Show a process no longer: it has ended."""
        self._rows.pop(name, None)
        if self._rich and name in self._tasks:
            self._rich.remove_task(self._tasks.pop(name))
