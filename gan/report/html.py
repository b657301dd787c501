"""A report as one HTML file that needs no other file, no script and no network."""

import base64
from pathlib import Path

from gan.report.document import Report
from gan.report.template import render_template


def html_page(report: Report) -> str:
    """Render a report as HTML, with its images embedded.

    Raises:
        OSError: an image cannot be read.
    """
    return render_template("page.html.jinja", {"data_url": _data_url}, report=report)


def _data_url(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
