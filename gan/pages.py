"""From what a report shows to its files and to the terminal: Markdown, HTML, charts, a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gan.files import replacing
from gan.plots import Line, chart, standalone
from gan.report_html import Picture, View, page

_NARROW = 100  # columns of a table where the terminal does not tell its width


def write(view: View, folder: Path, name: str) -> None:
    """Write NAME.md and NAME.html into a folder, and the charts as files of their own into NAME-images/.

    Raises:
        OSError: a file cannot be read or written.
    """
    files = []
    images = folder / f"{name}-images"
    images.mkdir(exist_ok=True)
    for number, picture in enumerate(view.charts, 1):
        path = images / f"chart-{number}.svg"
        with replacing(path) as file:
            file.write(standalone(picture.svg or "").encode())
        files.append(path.relative_to(folder))
    for path, text in ((folder / f"{name}.md", _markdown(view, files)), (folder / f"{name}.html", page(view))):
        with replacing(path) as file:
            file.write(text.encode())


def show(view: View) -> None:
    """Print the table to standard output."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=max(_NARROW, sum(len(cell) for cell in view.rows[0]) + 40))
    console.print(Text(view.title, "bold"))
    table = Table()
    for number, name in enumerate(view.header):
        table.add_column(Text(name), justify="left" if number == 0 else "right", overflow="fold")
    for row, cells in enumerate(view.rows):
        styles = ("bold" if (row, number) in view.best else "" for number in range(len(cells)))
        table.add_row(*(Text(cell, style) for cell, style in zip(cells, styles, strict=True)))
    console.print(table)
    for note in (*([view.stopped] if view.stopped else []), *view.notes):
        console.print(Text(note))


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


def _markdown(view: View, charts: Sequence[Path]) -> str:
    def cell(text: str) -> str:
        return text.replace("|", "\\|")

    lines = [f"# {view.title}", "", f"Made {view.made}.", ""]
    lines += [f"**{view.stopped}**", ""] if view.stopped else []
    lines += [f"| {' | '.join(view.header)} |", f"| --- |{' ---: |' * (len(view.header) - 1)}"]
    for number, row in enumerate(view.rows):
        cells = [f"**{cell(text)}**" if (number, at) in view.best else cell(text) for at, text in enumerate(row)]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", *(f"- {note}" for note in view.notes), ""]
    for picture in view.grids:
        assert picture.path is not None
        lines += [f"![{picture.alt}]({picture.path.parent.name}/{picture.path.name})", "", f"*{picture.caption}*", ""]
    for picture, path in zip(view.charts, charts, strict=True):
        lines += [f"![{picture.alt}]({path.as_posix()})", "", f"*{picture.caption}*", ""]
    lines += [f"## {view.facts_heading}", "", "| field | value |", "| --- | --- |"]
    lines += [f"| {cell(name)} | {cell(value)} |" for name, value in view.protocols]
    return "\n".join([*lines, "", "## Command", "", f"    {view.command}", ""])
