"""A report as Markdown."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from gan.report.document import Report, Table
from gan.report.template import render_template
from gan.utils.files import relative_path
from gan.utils.markdown_table import markdown_table


def markdown_page(report: Report, folder: Path, chart_files: Sequence[Path]) -> str:
    """Render a report as Markdown.

    Args:
        folder: where the page is written; links to images are relative to it.
        chart_files: files of `report.first_charts` and `report.charts`, relative to the folder.
    """
    filters: dict[str, Callable[..., str]] = {
        "relative": lambda path: relative_path(Path(path), folder),
        "scores": _score_table,
        "facts": partial(markdown_table, ("field", "value")),
    }
    return render_template("page.md.jinja", filters, report=report, chart_files=chart_files)


def _score_table(table: Table) -> str:
    rows = [
        [f"**{cell}**" if (number, column) in table.best else cell for column, cell in enumerate(row)]
        for number, row in enumerate(table.rows)
    ]
    return markdown_table(table.header, rows, align_right=True)
