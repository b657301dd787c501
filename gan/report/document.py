"""The content of a report: tables, figures and facts, independent of how they are rendered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Figure:
    """A figure: an image file or an <svg> element, its alternative text and its caption."""

    alt: str
    caption: str
    path: Path | None = None
    svg: str | None = None


@dataclass(frozen=True)
class Table:
    """A table with notes below it."""

    heading: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    best: frozenset[tuple[int, int]] = frozenset()
    """(row, column) of each cell to highlight."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """The content of a report's pages."""

    title: str
    first: Table
    stopped: str | None
    """Why some results are missing; None if the report is complete."""
    grids: tuple[Figure, ...]
    charts: tuple[Figure, ...]
    facts: tuple[tuple[str, str], ...]
    """(name, value) of each, shown below `facts_heading`."""
    command: str
    """Command line that reproduces the report."""
    made: str
    """Date and time."""
    facts_heading: str = "Protocol"
    summary: tuple[str, ...] = ()
    """Sentences above the tables."""
    first_charts: tuple[Figure, ...] = ()
    """Charts below the first table; `charts` come after the images."""
    tables: tuple[Table, ...] = ()
    """Tables below the first."""
    more_grids: tuple[tuple[str, tuple[Figure, ...]], ...] = ()
    """(heading, grids) of each collapsed section."""
    side_by_side: bool = False
    """Show grids small, several in a row."""
    commands: tuple[tuple[str, str], ...] = ()
    """(purpose, command line) of further commands."""


def best_cells(columns: Mapping[int, Sequence[float | None]]) -> frozenset[tuple[int, int]]:
    """Find the largest value of each column; a column whose values are all equal has none.

    Args:
        columns: values of each row, larger being better, by column number; None values are skipped.

    Returns:
        the (row, column) of each largest value.
    """
    best = set()
    for number, values in columns.items():
        present = [value for value in values if value is not None]
        if present and min(present) < max(present):
            best |= {(row, number) for row, value in enumerate(values) if value == max(present)}
    return frozenset(best)
