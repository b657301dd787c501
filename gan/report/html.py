"""A report as one HTML file that needs no other file, no script and no network."""

import base64
import re
from collections.abc import Callable
from itertools import count
from pathlib import Path

from markupsafe import Markup
from PIL import Image

from gan.report.document import Report
from gan.report.template import render_template

_NUMBER = re.compile(r"([-+\d.,]+)( ± [\d.,]+)?((?: \([^()]+\))+)")
_ENLARGED_WIDTH = 900  # CSS pixels, at least


def html_page(report: Report) -> str:
    """Render a report as HTML, with its images embedded.

    Raises:
        OSError: an image cannot be read.
    """
    numbers = count(1)
    filters: dict[str, Callable[..., str]] = {
        "data_url": _data_url,
        "full_width": _full_width,
        "range_below": _range_below,
        "picture_id": lambda figure: f"picture-{next(numbers)}",
    }
    return render_template("page.html.jinja", filters, report=report)


def _full_width(path: Path) -> str:
    """Width in CSS pixels of the enlarged picture: a whole multiple of its own, so that all pixels are equal."""
    with Image.open(path) as image:
        return str(image.width * max(1, -(-_ENLARGED_WIDTH // image.width)))


def _range_below(cell: str) -> str:
    """A cell with what follows a number in brackets, and then ± too, on lines below, so that tables stay narrow.

    As in `2.00 (1.00 to 3.00)` and `2.00 ± 0.30 (p = 0.03)`, but not in `2.00 ± 0.30`.
    """
    if match := _NUMBER.fullmatch(cell):
        number, spread, brackets = match.groups()
        below = [*([spread.strip()] if spread else ()), *re.findall(r"\([^()]+\)", brackets)]
        return Markup(" ").join([number, *(Markup('<span class="range">{}</span>').format(part) for part in below)])
    return cell


def _data_url(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
