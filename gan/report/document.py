"""The content of a report: tables, figures and facts, independent of how they are rendered"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Figure:
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
class Report:
    """A report as its pages show it."""

    title: str
    first: Table
    stopped: str | None
    """Why targets are missing, if there are."""
    grids: tuple[Figure, ...]
    charts: tuple[Figure, ...]
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
    more_grids: tuple[tuple[str, tuple[Figure, ...]], ...] = ()
    """Grids that are folded away, under a heading for each group."""
    side_by_side: bool = False
    """Whether grids are small, to be held against each other."""
    commands: tuple[tuple[str, str], ...] = ()
    """More commands, each under what it is for."""


def best_cells(columns: Mapping[int, Sequence[float | None]]) -> frozenset[tuple[int, int]]:
    """(row, column) of the largest value of each column; none in a column whose values are all equal.

    Args:
        columns: by column number, a value for each row, larger being better; None never counts.
    """
    best = set()
    for number, values in columns.items():
        present = [value for value in values if value is not None]
        if present and min(present) < max(present):
            best |= {(row, number) for row, value in enumerate(values) if value == max(present)}
    return frozenset(best)
