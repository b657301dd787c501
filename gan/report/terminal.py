"""Print the tables of a report to the terminal"""

from __future__ import annotations

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from gan.report.document import Report, Table

_NARROW = 100  # columns of a table where the terminal does not tell its width


def print_report(view: Report) -> None:
    """Print the tables to standard output."""
    console = Console(highlight=False)
    if not console.is_terminal:
        widest = max(sum(map(len, row)) for table in (view.first, *view.tables) for row in table.rows)
        console = Console(highlight=False, width=max(_NARROW, widest + 40))
    console.print(Text(view.title, "bold"))
    for line in view.summary:
        console.print(Text(line))
    for number, table in enumerate((view.first, *view.tables)):
        if number:
            console.print(Text(f"\n{table.heading}", "bold"))
        _print_table(console, table)
        for note in (*([view.stopped] if view.stopped and not number else []), *table.notes):
            console.print(Text(note))


def _print_table(console: Console, table: Table) -> None:
    grid = Grid()
    for number, name in enumerate(table.header):
        grid.add_column(Text(name), justify="left" if number == 0 else "right", overflow="fold")
    for row, cells in enumerate(table.rows):
        styles = ("bold" if (row, number) in table.best else "" for number in range(len(cells)))
        grid.add_row(*(Text(cell, style) for cell, style in zip(cells, styles, strict=True)))
    console.print(grid)
