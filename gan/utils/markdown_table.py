"""Markdown tables."""

from collections.abc import Iterable, Sequence


def markdown_table(
    header: Sequence[str], rows: Iterable[Sequence[object]], *, align_right: bool = False, pad: bool = False
) -> str:
    """Format a table; a `|` within a cell is escaped.

    Args:
        align_right: align all columns but the first to the right.
        pad: pad cells so that the columns line up in a terminal.
    """
    lines = [[str(cell).replace("|", r"\|") for cell in line] for line in (header, *rows)]
    widths = [max(map(len, column)) if pad else 0 for column in zip(*lines, strict=True)]
    rule = ["-" * (width or 3) + ":" * (align_right and column > 0) for column, width in enumerate(widths)]
    lines.insert(1, rule)
    padded = ([cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in padded)
