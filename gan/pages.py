"""From what a report shows to its files and to the terminal: Markdown, HTML, charts, a table."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from gan.files import replacing
from gan.intervals import interval
from gan.plots import Line, chart, standalone
from gan.report_html import Picture, Table, View, page

_NARROW = 100  # columns of a table where the terminal does not tell its width


def write(view: View, folder: Path, name: str) -> None:
    """Write NAME.md and NAME.html into a folder, and the charts as files of their own into NAME-images/.

    Raises:
        OSError: a file cannot be read or written.
    """
    files: list[Path] = []
    images = folder / f"{name}-images"
    images.mkdir(exist_ok=True)
    for number, picture in enumerate(view.charts, 1):
        path = images / f"chart-{number}.svg"
        with replacing(path) as file:
            file.write(standalone(picture.svg or "").encode())
        files.append(path.relative_to(folder))
    for path, text in ((folder / f"{name}.md", _markdown(view, folder, files)), (folder / f"{name}.html", page(view))):
        with replacing(path) as file:
            file.write(text.encode())


def show(view: View) -> None:
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


def line_chart(
    title: str, lines: Sequence[Line], x_label: str, better: str = "", y_label: str = "", *, log: bool = False
) -> Picture:
    """A line chart as a picture of a report, which says in words where each line begins and ends.

    Args:
        better: what the caption adds, as `less is better`.
        y_label: of its axis; the title where it is empty.
        log: whether that axis is logarithmic.
    """
    ranges = "; ".join(
        f"{line.name} from {line.y[0]:.4g} at {line.x[0]:,} to {line.y[-1]:.4g} at {line.x[-1]:,}" for line in lines
    )
    alt = f"{title} over {x_label}: {ranges}"
    svg = chart(lines, x_label=x_label, y_label=y_label or title, alt=alt, log=log)
    return Picture(alt, f"{title} ({better})" if better else title, svg=svg)


def mean_line(name: str, points: Sequence[tuple[float, Sequence[float]]]) -> Line:
    """The means of several curves, as one line, and their 95 % intervals, where there are several.

    Args:
        points: places along the x axis, and the value of each curve there.
    """
    found = [interval(values) for _, values in points]
    spread = [each.half or 0.0 for each in found] if any(each.half is not None for each in found) else None
    return Line(name, [x for x, _ in points], [each.mean for each in found], spread)


def _markdown(view: View, folder: Path, charts: Sequence[Path]) -> str:
    lines = [f"# {view.title}", "", f"Made {view.made}.", ""]
    lines += [f"**{view.stopped}**", ""] if view.stopped else []
    lines += [line for sentence in view.summary for line in (sentence, "")]
    lines += _markdown_table(view.first)
    for table in view.tables:
        lines += [f"## {table.heading}", "", *_markdown_table(table)]
    for heading, grids in (("", view.grids), *view.more_grids):
        lines += [f"## {heading}", ""] if heading else []
        for picture in grids:
            assert picture.path is not None
            place = Path(os.path.relpath(picture.path, folder)).as_posix()
            lines += [f"![{picture.alt}]({place})", "", f"*{picture.caption}*", ""]
    for picture, path in zip(view.charts, charts, strict=True):
        lines += [f"![{picture.alt}]({path.as_posix()})", "", f"*{picture.caption}*", ""]
    lines += [f"## {view.facts_heading}", "", "| field | value |", "| --- | --- |"]
    lines += [f"| {_cell(name)} | {_cell(value)} |" for name, value in view.protocols]
    lines += ["", "## Command", "", f"    {view.command}", ""]
    for name, command in view.commands:
        lines += [f"{name}:", "", f"    {command}", ""]
    return "\n".join(lines)


def _markdown_table(table: Table) -> list[str]:
    lines = [f"| {' | '.join(table.header)} |", f"| --- |{' ---: |' * (len(table.header) - 1)}"]
    for number, row in enumerate(table.rows):
        cells = [f"**{_cell(text)}**" if (number, at) in table.best else _cell(text) for at, text in enumerate(row)]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, "", *(f"- {note}" for note in table.notes), ""]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
