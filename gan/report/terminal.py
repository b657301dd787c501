"""Print the tables of a report to the terminal."""

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from gan.report.document import Report, Table
from gan.utils.progress import is_shown

_MIN_WIDTH = 100  # columns of text where standard output is not a terminal
_MIN_COLUMN = 9  # columns of text of each column of a table, on average


def print_report(report: Report) -> None:
    """Print the tables to standard output, unless messages are not shown."""
    if not is_shown():
        return
    tables = (report.first, *report.tables)
    console = Console(highlight=False)
    if not console.is_terminal:
        widest = max(sum(map(len, row)) for table in tables for row in table.rows)
        console = Console(highlight=False, width=max(_MIN_WIDTH, widest + 40))
    console.print(Text(report.title, "bold"))
    for line in report.summary:
        console.print(Text(line))
    for number, table in enumerate(tables):
        if number:
            console.print(Text(f"\n{table.heading}", "bold"))
        if console.is_terminal and number and len(table.header) * _MIN_COLUMN > console.width:
            console.print(Text(f"{len(table.header)} columns, too wide for this terminal: see the pages."))
            continue
        _print_table(console, table)
        for note in (*([report.stopped] if report.stopped and not number else []), *table.notes):
            console.print(Text(note))


def _print_table(console: Console, table: Table) -> None:
    grid = Grid()
    for number, name in enumerate(table.header):
        grid.add_column(Text(name), justify="left" if number == 0 else "right", overflow="fold")
    for row, cells in enumerate(table.rows):
        grid.add_row(*(Text(cell, "bold" if (row, column) in table.best else "") for column, cell in enumerate(cells)))
    console.print(grid)
