"""Charts as SVG."""

from __future__ import annotations

import re

import pytest

from gan.report.charts import Line, forest_plot, line_chart, mean_line, standalone_svg, svg_chart, svg_dots, svg_forest


def test_charts_are_the_same_each_time_and_take_colours_of_the_page() -> None:
    lines = [
        Line("a & b", [1, 2, 3], [3.0, 2.0, 1.0], ([2.9, 1.8, 0.9], [3.1, 2.2, 1.1])),
        Line("c", [1, 2], [1.0, 2.0]),
    ]
    svg = svg_chart(lines, x_label="steps", y_label="FID", alt='less "FID" <1')
    assert svg == svg_chart(lines, x_label="steps", y_label="FID", alt='less "FID" <1')
    assert svg.startswith('<svg class="chart" role="img" aria-label="less &quot;FID&quot; &lt;1"')
    assert "currentColor" in svg and "var(--line)" in svg and "#010203" not in svg and "<style" not in svg
    assert "a &amp; b" in svg and "font-family" not in svg
    assert "var(" not in standalone_svg(svg)
    long = svg_chart([Line("x", range(10_000), range(10_000))], x_label="", y_label="", alt="long")
    assert len(long) < 30_000


@pytest.mark.parametrize("name", ["$x_", "$\\frac$", "_fake", "$5 and $6"])
def test_names_are_drawn_as_they_are(name: str) -> None:
    """Not as formulas of matplotlib, which leaves names that start with _ out of the legend."""
    lines = [Line(name, [1.0, 2.0], [1.0, 2.0]), Line("b", [1.0, 2.0], [2.0, 3.0])]
    charts = [
        svg_chart(lines, x_label=name, y_label=name, alt=""),
        svg_forest({name: [1.0], "b": [2.0]}, x_label=name, alt=""),
        svg_dots([name, "b"], {name: [1.0, 2.0], "b": [2.0, 3.0]}, x_label=name, alt=""),
    ]
    for svg, times in zip(charts, (3, 2, 3), strict=True):
        assert len(re.findall(f"> ?{re.escape(name)}</text>", svg)) == times


def heights(svg: str) -> list[list[float]]:
    """Distance of each line's points from the top of the figure, in its units."""
    lines = re.findall(r'<path d="(M[^"]*)" clip-path[^>]*fill: none; stroke: #(?:2a86c9|d55e00)', svg)
    return [[float(y) for y in re.findall(r"[ML] [\d.]+ ([-\d.]+)", line)] for line in lines]


@pytest.mark.parametrize("log", [False, True])
def test_lines_fill_the_chart(log: bool) -> None:
    """Also on a logarithmic axis, which shows positive values alone."""
    values = [1e-3, 1e-6, 1e-9] if log else [3.0, 2.0, 1.0]
    lines = [Line("a", [0, 1, 2], values), Line("b", [0, 1, 2], [values[1], values[1], values[2]])]
    (first, second) = heights(svg_chart(lines, x_label="steps", y_label="", alt="", log=log))
    height = 2.7 * 72  # points
    assert first[1] - first[0] == pytest.approx(first[2] - first[1], abs=0.1)
    assert second[0] == pytest.approx(first[1])
    assert first[2] - first[0] > 0.4 * height


def test_a_long_label_of_the_y_axis_is_wrapped() -> None:
    lines = [Line("a", [1.0, 2.0], [1.0, 2.0]), Line("b", [1.0, 2.0], [2.0, 3.0])]
    svg = svg_chart(lines, x_label="k", y_label="Final FID of the best of k random settings", alt="")
    assert "Final FID of the best of k<" in svg and ">random settings<" in svg


def test_a_logarithmic_chart_of_one_value_and_of_none() -> None:
    (line,) = heights(svg_chart([Line("a", [0, 1], [1e-4, 1e-4])], x_label="", y_label="", alt="", log=True))
    assert line[0] == line[1]
    svg_chart([Line("a", [0, 1], [0.0, 0.0])], x_label="", y_label="", alt="", log=True)


@pytest.mark.parametrize("seeds", [1, 2, 3, 4, 5])
def test_few_seeds_are_lines_and_several_a_band(seeds: int) -> None:
    """A band of two seeds covers the chart, and says nothing."""
    points = [(float(x), [x + seed / 10 for seed in range(seeds)]) for x in range(3)]
    line = mean_line("sn", points)
    assert line.y == pytest.approx([x + (seeds - 1) / 20 for x in range(3)])
    assert (line.band is not None) == (seeds >= 4)
    curves = [tuple(x + seed / 10 for x in range(3)) for seed in range(seeds)] if 1 < seeds < 4 else []
    assert list(line.members) == curves
    svg = svg_chart([line], x_label="steps", y_label="FID", alt="")
    assert svg.count("stroke: #2a86c9; stroke-opacity: 0.6; stroke-width: 0.7") == len(curves)
    assert ("fill: #2a86c9; fill-opacity: 0.18" in svg) == (seeds >= 4)
    caption = line_chart("FID", [line], "steps", "less is better").caption
    assert caption == f"FID (less is better{'; thin lines are single seeds' if curves else ''})"


def test_single_seeds_stay_within_the_chart() -> None:
    """Unlike a band, which is cut off where it would flatten the lines."""
    line = mean_line("sn", [(0.0, [1.0, 9.0]), (1.0, [1.0, 9.5])])
    low, high = (curve for curve in heights(svg_chart([line], x_label="", y_label="", alt="")) if curve[0] != curve[1])
    assert all(0 < height < 2.7 * 72 for height in (*low, *high))


@pytest.mark.parametrize("seeds", [1, 3, 5])
def test_forest_plots(seeds: int) -> None:
    rows = {name: [shift + seed / 10 for seed in range(seeds)] for name, shift in (("a & b", 2.0), ("c", -1.0))}
    svg = svg_forest(rows, x_label="difference", alt="d")
    assert svg == svg_forest(rows, x_label="difference", alt="d")
    assert "a &amp; b" in svg and "currentColor" in svg and "var(--line)" in svg and "#010203" not in svg
    assert svg.index("a &amp; b") < svg.index(">c<")
    assert svg.count("fill: none; stroke: #2a86c9") == (2 if seeds == 5 else 0)  # an interval for each row
    figure = forest_plot("d", rows, "difference")
    assert figure.alt.startswith("d: a & b 2.") and (" ± " in figure.alt) == (seeds == 5)
    assert figure.caption == {1: "d", 3: "d (thin marks are single seeds)", 5: "d (lines are 95 % intervals)"}[seeds]


def test_a_wide_interval_is_cut_off_in_a_forest_plot() -> None:
    """It would flatten the others."""
    narrow = {"a": [1.0, 1.1, 0.9, 1.0], "b": [-1.0, -1.1, -0.9, -1.0]}
    wide = {**narrow, "c": [200.0, -200.0, 150.0, -150.0]}
    labels = re.findall(r">([−\d.]+)</text>", svg_forest(wide, x_label="", alt=""))
    ticks = [float(label.replace("−", "-")) for label in labels]
    assert -3.0 <= min(ticks) and max(ticks) <= 3.0
