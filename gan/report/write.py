"""Write the files of a report: HTML, Markdown and charts."""

from pathlib import Path

from gan.report.charts import standalone_svg
from gan.report.document import Report
from gan.report.html import html_page
from gan.report.markdown import markdown_page
from gan.utils.files import atomic_write


def write_report(report: Report, folder: Path, name: str) -> None:
    """Write NAME.md and NAME.html into a folder, and each chart as an SVG file into NAME-images/.

    Raises:
        OSError: a file cannot be read or written.
    """
    images = Path(f"{name}-images")
    (folder / images).mkdir(exist_ok=True)
    charts = {
        images / f"chart-{number}.svg": standalone_svg(chart.svg or "")
        for number, chart in enumerate((*report.first_charts, *report.charts), start=1)
    }
    pages = {
        Path(f"{name}.md"): markdown_page(report, folder, list(charts)),
        Path(f"{name}.html"): html_page(report),
    }
    for path, text in {**charts, **pages}.items():
        with atomic_write(folder / path) as file:
            file.write(text.encode(errors="backslashreplace"))  # of undecodable bytes in file names
