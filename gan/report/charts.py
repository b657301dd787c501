"""Line charts as SVG: small enough for a phone, and in colours that a page's theme can change."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import EngFormatter, MaxNLocator

from gan.report.document import Figure
from gan.utils.confidence import confidence_interval

_INCHES = (4.4, 2.7)
_MOST_POINTS = 300  # of a line; more are averaged in groups
_INK, _LINE = "#010203", "#040506"  # stand for the theme's colours
# After Okabe and Ito, which the colour-blind tell apart; blue is lighter, to stand out by night too.
SERIES = ("#2a86c9", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_MARKS = "os^Dvx"
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: it can be read aloud and takes the page's font
    "svg.hashsalt": "msn-gan",
    "font.size": 9,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _LINE,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": _LINE,
    "grid.linewidth": 0.6,
}


@dataclass(frozen=True)
class Line:
    """One line of a chart: values `y` at `x`, and where given, how far they spread to either side."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    spread: Sequence[float] | None = None
    series: int | None = None
    """Number of its colour and mark; None: its place in the chart. The same thing looks alike in all charts."""


def svg_chart(lines: Sequence[Line], *, x_label: str, y_label: str, alt: str, log: bool = False) -> str:
    """A line chart as an <svg> element; text is `currentColor`, rules are `var(--line)`.

    Args:
        alt: what it shows, in words.
        log: whether the axis of values is logarithmic; values that are not above 0 have no place on it.
    """
    with matplotlib.rc_context(_STYLE):
        figure = Canvas(figsize=_INCHES, layout="constrained")
        axes = figure.add_subplot()
        for place, line in enumerate(lines):
            number = place if line.series is None else line.series
            color = SERIES[number % len(SERIES)]
            x, y = _thinned(line.x), _thinned(line.y)
            mark = _MARKS[number % len(_MARKS)] if len(x) <= 30 else None
            dashes = "-" if number < len(SERIES) else "--"  # the colours begin again
            axes.plot(x, y, dashes, color=color, marker=mark, markersize=4, linewidth=1.6, label=line.name)
            if line.spread is not None:
                spread = _thinned(line.spread)
                low, high = zip(*((a - b, a + b) for a, b in zip(y, spread, strict=True)), strict=True)
                axes.fill_between(x, low, high, color=color, alpha=0.18, linewidth=0)
        log = log and any(value > 0 for line in lines for value in line.y)
        if log:
            axes.set_yscale("log")
        axes.set_ylim(*(_log_limits(lines) if log else _limits(lines, *axes.get_ylim())))
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        if not log:
            axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.grid(axis="y")
        if len(lines) > 1:
            figure.legend(loc="outside upper left", ncols=2, frameon=False)
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return _element(file.getvalue(), alt)


def _limits(lines: Sequence[Line], low: float, high: float) -> tuple[float, float]:
    """Where the y axis begins and ends: within what `low` and `high` show.

    Wide intervals are cut off where they would press the lines together, and where they reach below 0 and no line does.
    """
    least, most = min(min(line.y) for line in lines), max(max(line.y) for line in lines)
    if most > least:
        low, high = max(low, least - (most - least)), min(high, most + (most - least))
    return (max(low, 0.0) if least >= 0 else low), high


def _log_limits(lines: Sequence[Line]) -> tuple[float, float]:
    """Where a logarithmic y axis begins and ends: around all values that have a place on it; there are some."""
    values = [value for line in lines for value in line.y if value > 0]
    least, most = min(values), max(values)
    margin = (most / least) ** 0.05 if most > least else 2.0
    return least / margin, most * margin


def standalone_svg(svg: str) -> str:
    """The chart as a file of its own: black on white."""
    plain = svg.replace("currentColor", "#222222").replace("var(--line)", "#cccccc")
    return plain.replace("<svg ", '<svg style="background: white; font-family: sans-serif" ', 1)


def _element(text: str, alt: str) -> str:
    text = text[text.index("<svg ") :]
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", text, count=1, flags=re.DOTALL)
    text = re.sub(r' id="[A-Za-z0-9]+_\d+"', "", text)  # nothing refers to them, and a page has several charts
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = text.replace("<svg ", f'<svg class="chart" role="img" aria-label="{html.escape(alt)}" ', 1)
    text = re.sub(r"font-family: [^;\"]*(; )?|font: ([\d.]+px) [^;\"]*", _font, text)
    return text.replace(_INK, "currentColor").replace(_LINE, "var(--line)").strip()


def _font(found: re.Match[str]) -> str:
    """Only the size is kept of a font, so that text is set in the page's own."""
    return f"font-size: {found[2]}" if found[2] else ""


def _thinned(values: Sequence[float]) -> list[float]:
    group = -(-len(values) // _MOST_POINTS)
    parts = (values[start : start + group] for start in range(0, len(values), group))
    return [sum(part) / len(part) for part in parts]


def line_chart(
    title: str, lines: Sequence[Line], x_label: str, better: str = "", y_label: str = "", *, log: bool = False
) -> Figure:
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
    svg = svg_chart(lines, x_label=x_label, y_label=y_label or title, alt=alt, log=log)
    return Figure(alt, f"{title} ({better})" if better else title, svg=svg)


def mean_line(name: str, points: Sequence[tuple[float, Sequence[float]]]) -> Line:
    """The means of several curves, as one line, and their 95 % intervals, where there are several.

    Args:
        points: places along the x axis, and the value of each curve there.
    """
    found = [confidence_interval(values) for _, values in points]
    spread = [each.half or 0.0 for each in found] if any(each.half is not None for each in found) else None
    return Line(name, [x for x, _ in points], [each.mean for each in found], spread)
