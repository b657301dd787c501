"""Charts as SVG."""

from __future__ import annotations

import re

import pytest

from gan.report.charts import Line, standalone_svg, svg_chart


def test_charts_are_the_same_each_time_and_take_colours_of_the_page() -> None:
    lines = [Line("a & b", [1, 2, 3], [3.0, 2.0, 1.0], [0.1, 0.2, 0.1]), Line("c", [1, 2], [1.0, 2.0])]
    svg = svg_chart(lines, x_label="steps", y_label="FID", alt='less "FID" <1')
    assert svg == svg_chart(lines, x_label="steps", y_label="FID", alt='less "FID" <1')
    assert svg.startswith('<svg class="chart" role="img" aria-label="less &quot;FID&quot; &lt;1"')
    assert "currentColor" in svg and "var(--line)" in svg and "#010203" not in svg and "<style" not in svg
    assert "a &amp; b" in svg and "font-family" not in svg
    assert "var(" not in standalone_svg(svg)
    long = svg_chart([Line("x", range(10_000), range(10_000))], x_label="", y_label="", alt="long")
    assert len(long) < 30_000


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


def test_a_logarithmic_chart_of_one_value_and_of_none() -> None:
    (line,) = heights(svg_chart([Line("a", [0, 1], [1e-4, 1e-4])], x_label="", y_label="", alt="", log=True))
    assert line[0] == line[1]
    svg_chart([Line("a", [0, 1], [0.0, 0.0])], x_label="", y_label="", alt="", log=True)
