"""Render a report as Markdown"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from gan.report.document import Report, Table


def markdown_page(view: Report, folder: Path, charts: Sequence[Path]) -> str:
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
