"""From what a report shows to its files and to the terminal: Markdown, HTML, charts, a table."""

from __future__ import annotations

from pathlib import Path

from gan.report.charts import standalone_svg
from gan.report.document import Report
from gan.report.html import html_page
from gan.report.markdown import markdown_page
from gan.utils.files import atomic_write


def write_report(view: Report, folder: Path, name: str) -> None:
    """Write NAME.md and NAME.html into a folder, and the charts as files of their own into NAME-images/.

    Raises:
        OSError: a file cannot be read or written.
    """
    files: list[Path] = []
    images = folder / f"{name}-images"
    images.mkdir(exist_ok=True)
    for number, picture in enumerate(view.charts, 1):
        path = images / f"chart-{number}.svg"
        with atomic_write(path) as file:
            file.write(standalone_svg(picture.svg or "").encode())
        files.append(path.relative_to(folder))
    for path, text in (
        (folder / f"{name}.md", markdown_page(view, folder, files)),
        (folder / f"{name}.html", html_page(view)),
    ):
        with atomic_write(path) as file:
            file.write(text.encode())
