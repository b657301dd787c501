"""Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def markdown_row(cells: Iterable[object]) -> str:
    """Format one row of a table; a `|` within a cell is escaped."""
    escaped = (str(cell).replace("|", r"\|") for cell in cells)
    return f"| {' | '.join(escaped)} |"


def markdown_table(
    header: Sequence[str], rows: Iterable[Sequence[object]], *, align_right: bool = False, pad: bool = False
) -> str:
    """Format a table.

    Args:
        align_right: align all columns but the first to the right.
        pad: pad cells so that the columns line up in a terminal.
    """
    lines = [[str(cell) for cell in line] for line in (header, *rows)]
    widths = [max(map(len, column)) if pad else 0 for column in zip(*lines, strict=True)]
    ends = ["", *[":" if align_right else ""] * (len(header) - 1)]
    lines.insert(1, ["-" * (width or 3) + end for width, end in zip(widths, ends, strict=True)])
    return "\n".join(
        markdown_row(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines
    )
