"""The content of a report: tables, figures and facts, independent of how they are rendered"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Picture:
    """A picture of a report: a file in its folder or an <svg> element, what it shows in words, and its caption."""

    alt: str
    caption: str
    path: Path | None = None
    svg: str | None = None


@dataclass(frozen=True)
class Table:
    """A table of a report."""

    heading: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    best: frozenset[tuple[int, int]] = frozenset()
    """(row, column) of the best of each score."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class View:
    """A report as its pages show it."""

    title: str
    first: Table
    stopped: str | None
    """Why targets are missing, if there are."""
    grids: tuple[Picture, ...]
    charts: tuple[Picture, ...]
    protocols: tuple[tuple[str, str], ...]
    """(field, value)."""
    command: str
    made: str
    facts_heading: str = "Protocol"
    """Of `protocols`."""
    summary: tuple[str, ...] = ()
    """What it comes to, in sentences above the tables."""
    tables: tuple[Table, ...] = ()
    """More tables, below the first."""
    more_grids: tuple[tuple[str, tuple[Picture, ...]], ...] = ()
    """Grids that are folded away, under a heading for each group."""
    side_by_side: bool = False
    """Whether grids are small, to be held against each other."""
    commands: tuple[tuple[str, str], ...] = ()
    """More commands, each under what it is for."""
