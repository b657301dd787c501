"""Line charts, forest plots and dot plots as SVG, legible on a phone and in the colours of the page's theme."""

import html
import io
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import EngFormatter, MaxNLocator

from gan.report.document import Figure
from gan.utils.confidence import LEAST_RUNS, confidence_interval, mean_text

_INCHES = (4.4, 2.7)
_MAX_POINTS = 300  # of a line; longer ones are averaged in groups
_LABEL = 26  # characters of a line of the y axis's label, which has the height of the axes
_INK, _LINE = "#010203", "#040506"  # placeholders for the theme's colours
# Okabe and Ito's colours for colour-blind readers, with a lighter blue for the dark theme.
SERIES = ("#2a86c9", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_MARKERS = "os^Dvx"
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text, for screen readers and in the page's font
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
    """One line of a chart: values `y` at `x`, with an optional band, or thin lines of its members."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    band: tuple[Sequence[float], Sequence[float]] | None = None
    """Lower and upper ends of an interval of `y`."""
    members: Sequence[Sequence[float]] = ()
    """Values at `x` of each curve that `y` is the mean of, to be drawn as thin lines."""
    series: int | None = None
    """Number of its colour and marker, to be the same in several charts; None: its position in the chart."""


def svg_chart(lines: Sequence[Line], *, x_label: str, y_label: str, alt: str, log: bool = False) -> str:
    """Draw a line chart as an <svg> element; text is `currentColor`, axes and grid are `var(--line)`.

    Args:
        alt: alternative text.
        log: make the y axis logarithmic; values that are not above 0 are not shown on it.
    """
    with matplotlib.rc_context(_STYLE):
        figure = Canvas(figsize=_INCHES, layout="constrained")
        axes = figure.add_subplot()
        for position, line in enumerate(lines):
            number = position if line.series is None else line.series
            color = SERIES[number % len(SERIES)]
            x, y = _thinned(line.x), _thinned(line.y)
            marker = _MARKERS[number % len(_MARKERS)] if len(x) <= 30 else None
            dashes = "-" if number < len(SERIES) else "--"  # colours repeat
            label = _drawable(line.name)
            axes.plot(x, y, dashes, color=color, marker=marker, markersize=4, linewidth=1.6, label=label)
            for member in line.members:
                axes.plot(x, _thinned(member), dashes, color=color, linewidth=0.7, alpha=0.6)
            if line.band is not None:
                low, high = map(_thinned, line.band)
                axes.fill_between(x, low, high, color=color, alpha=0.18, linewidth=0)
        log = log and any(value > 0 for line in lines for value in line.y)
        if log:
            axes.set_yscale("log")
        else:
            values = [value for line in lines for curve in (line.y, *line.members) for value in curve]
            bottom, top = _limits(values, *axes.get_ylim())
            axes.set_ylim(max(bottom, 0.0) if min(values) >= 0 else bottom, top)
            axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel(_drawable(x_label))
        axes.set_ylabel(textwrap.fill(_drawable(y_label), _LABEL))
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.grid(axis="y")
        if len(lines) > 1:
            figure.legend(loc="outside upper left", ncols=2, frameon=False)
        return _element(figure, alt)


def svg_forest(rows: Mapping[str, Sequence[float]], *, x_label: str, alt: str) -> str:
    """Draw a forest plot as an <svg> element: a row for each name, with the mean of its values and a line at 0.

    The mean has its 95 % confidence interval, or the single values if they are fewer than four. Wide intervals are cut
    off as bands are.
    """
    means = [confidence_interval(values) for values in rows.values()]
    single = [values if 1 < len(values) < LEAST_RUNS else () for values in rows.values()]
    with matplotlib.rc_context(_STYLE):
        figure = Canvas(figsize=(_INCHES[0], 0.8 + 0.25 * len(rows)), layout="constrained")
        axes = figure.add_subplot()
        axes.axvline(0, color=_INK, linewidth=0.8)
        for y, (interval, values) in enumerate(zip(means, single, strict=True)):
            if interval.half is not None and not values:
                ends = (interval.mean - interval.half, interval.mean + interval.half)
                axes.plot(ends, (y, y), color=SERIES[0], linewidth=1.6)
            axes.plot(values, [y] * len(values), "|", color=SERIES[0], markersize=7, alpha=0.6)
            axes.plot(interval.mean, y, _MARKERS[0], color=SERIES[0], markersize=5)
        shown = [0.0, *(interval.mean for interval in means), *(value for values in single for value in values)]
        axes.set_xlim(*_limits(shown, *axes.get_xlim()))
        axes.set_ylim(len(rows) - 0.5, -0.5)  # the first row on top
        axes.set_yticks(range(len(rows)), list(map(_drawable, rows)))
        axes.set_xlabel(_drawable(x_label))
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.grid(axis="x")
        return _element(figure, alt)


def svg_dots(names: Sequence[str], series: Mapping[str, Sequence[float | None]], *, x_label: str, alt: str) -> str:
    """Draw a dot plot as an <svg> element: a row for each name, with a marker for each series; None has no marker.

    Args:
        series: values of each row by name of the series.
    """
    with matplotlib.rc_context(_STYLE):
        figure = Canvas(figsize=(_INCHES[0], 0.8 + 0.25 * len(names)), layout="constrained")
        axes = figure.add_subplot()
        for number, (name, values) in enumerate(series.items()):
            points = [(value, y) for y, value in enumerate(values) if value is not None]
            axes.plot(
                [value for value, _ in points],
                [y for _, y in points],
                _MARKERS[number % len(_MARKERS)],
                color=SERIES[number % len(SERIES)],
                markersize=5,
                label=_drawable(name),
            )
        axes.set_xlim(left=0.0)
        axes.set_ylim(len(names) - 0.5, -0.5)  # the first row on top
        axes.set_yticks(range(len(names)), list(map(_drawable, names)))
        axes.set_xlabel(_drawable(x_label))
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.grid(axis="both")
        if len(series) > 1:
            figure.legend(loc="outside upper left", ncols=2, frameon=False)
        return _element(figure, alt)


def _drawable(name: str) -> str:
    """A name that matplotlib draws as it is: undecodable bytes and the sign of formulas are escaped.

    A name that starts with _ would be missing in the legend; it starts with a space then.
    """
    text = name.encode(errors="backslashreplace").decode().replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def _limits(values: Sequence[float], low: float, high: float) -> tuple[float, float]:
    """Limits of an axis within [low, high]; wide intervals are cut off so that they do not flatten the rest.

    The axis extends beyond the values by at most their range.
    """
    smallest, largest = min(values), max(values)
    if largest > smallest:
        low, high = max(low, 2 * smallest - largest), min(high, 2 * largest - smallest)
    return low, high


def standalone_svg(svg: str) -> str:
    """Return a chart as the content of an SVG file, black on white."""
    plain = svg.replace("currentColor", "#222222").replace("var(--line)", "#cccccc")
    return plain.replace("<svg ", '<svg style="background: white; font-family: sans-serif" ', 1)


def _element(figure: Canvas, alt: str) -> str:
    """The <svg> element of a figure, scalable and without fonts, ids and fixed colours."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    text = file.getvalue()
    text = text[text.index("<svg ") :]
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", text, count=1, flags=re.DOTALL)
    text = re.sub(r' id="[A-Za-z0-9]+_\d+"', "", text)  # unused, and not unique on a page with several charts
    text = re.sub(r' (height|width)="[\d.]+pt"', "", text, count=2)
    text = text.replace("<svg ", f'<svg class="chart" role="img" aria-label="{html.escape(alt)}" ', 1)
    text = re.sub(r"font-family: [^;\"]*(; )?|font: ([\d.]+px) [^;\"]*", _font_size, text)
    return text.replace(_INK, "currentColor").replace(_LINE, "var(--line)").strip()


def _font_size(match: re.Match[str]) -> str:
    """The size of a font without its family, so that text uses the page's font."""
    return f"font-size: {match[2]}" if match[2] else ""


def _thinned(values: Sequence[float]) -> list[float]:
    """Replace each group of consecutive values by its mean, so that at most `_MAX_POINTS` remain."""
    group = -(-len(values) // _MAX_POINTS)
    parts = (values[start : start + group] for start in range(0, len(values), group))
    return [sum(part) / len(part) for part in parts]


def line_chart(
    title: str, lines: Sequence[Line], x_label: str, better: str = "", y_label: str = "", *, log: bool = False
) -> Figure:
    """Draw a line chart as a figure of a report; its alternative text gives the ends of each line.

    Args:
        better: added to the caption, as `less is better`.
        y_label: label of the y axis; the title if empty.
        log: make the y axis logarithmic.
    """
    ranges = "; ".join(
        f"{line.name} from {line.y[0]:.4g} at {line.x[0]:,} to {line.y[-1]:.4g} at {line.x[-1]:,}" for line in lines
    )
    alt = f"{title} over {x_label}: {ranges}"
    svg = svg_chart(lines, x_label=x_label, y_label=y_label or title, alt=alt, log=log)
    remarks = [better] if better else []
    remarks += ["thin lines are single seeds"] if any(line.members for line in lines) else []
    return Figure(alt, f"{title} ({'; '.join(remarks)})" if remarks else title, svg=svg)


def forest_plot(title: str, rows: Mapping[str, Sequence[float]], x_label: str) -> Figure:
    """Draw a forest plot as a figure of a report, for the values of each row; its alternative text gives the means."""
    alt = f"{title}: {'; '.join(f'{name} {mean_text(values)}' for name, values in rows.items())}"
    few = any(1 < len(values) < LEAST_RUNS for values in rows.values())
    many = any(len(values) >= LEAST_RUNS for values in rows.values())
    remarks = [*(["lines are 95 % intervals"] if many else ()), *(["thin marks are single seeds"] if few else ())]
    caption = f"{title} ({'; '.join(remarks)})" if remarks else title
    return Figure(alt, caption, svg=svg_forest(rows, x_label=x_label, alt=alt))


def dot_chart(
    title: str, names: Sequence[str], series: Mapping[str, Sequence[float | None]], x_label: str, better: str = ""
) -> Figure:
    """Draw a dot plot of values that are at least 0 as a figure of a report; its alternative text gives the values.

    Args:
        names: of the rows.
        series: values of each row by name of the series; None has no marker.
        better: added to the caption, as `less is better`.
    """
    parts = []
    for name, values in series.items():
        pairs = zip(names, values, strict=True)
        parts.append(f"{name}: {', '.join(f'{row} {value:.4g}' for row, value in pairs if value is not None)}")
    alt = f"{title}: {'; '.join(parts)}"
    svg = svg_dots(names, series, x_label=x_label, alt=alt)
    return Figure(alt, f"{title} ({better})" if better else title, svg=svg)


def band_around(values: Sequence[float], halves: Sequence[float]) -> tuple[list[float], list[float]]:
    """The band of a line whose intervals are `values` ± `halves`."""
    pairs = list(zip(values, halves, strict=True))
    return [value - half for value, half in pairs], [value + half for value, half in pairs]


def mean_line(name: str, points: Sequence[tuple[float, Sequence[float]]]) -> Line:
    """The mean of several curves, with its 95 % confidence interval, or with the curves if they are fewer than four.

    Args:
        points: (x, values of the curves at x).
    """
    intervals = [confidence_interval(values) for _, values in points]
    x, means = [x for x, _ in points], [interval.mean for interval in intervals]
    count = min(len(values) for _, values in points)
    if count >= LEAST_RUNS:
        return Line(name, x, means, band_around(means, [interval.half or 0.0 for interval in intervals]))
    members = tuple(zip(*(values for _, values in points), strict=True)) if count > 1 else ()
    return Line(name, x, means, members=members)
