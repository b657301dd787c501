"""HTML and Markdown pages of a report with every part, and of a minimal one."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from gan.report.charts import Line, line_chart
from gan.report.document import Figure, Report, Table, best_cells
from gan.report.html import html_page
from gan.report.markdown import markdown_page
from gan.report.write import write_report
from tests.helpers.pages import Page

TABLE = Table("Scores <1>", ("Name", "FID ↓"), (("a | b", "1"), ("<c>", "2")), frozenset({(0, 1)}), ("note <n>",))
CHART = Figure("chart alt", "chart <caption>", svg='<svg class="chart" aria-label="chart alt"><text>t</text></svg>')


@pytest.fixture
def grid(tmp_path: Path) -> Figure:
    Image.new("RGB", (4, 4)).save(tmp_path / "grid.png")
    return Figure('grid "alt"', "grid & caption", tmp_path / "grid.png")


@pytest.fixture
def report(grid: Figure) -> Report:
    return Report(
        title="Title <t>",
        first=TABLE,
        stopped="stopped & gone",
        grids=(grid,),
        charts=(CHART,),
        facts=(("field | one", "<value>"),),
        command="msn-gan 'x <y>'",
        made="2026-01-02",
        facts_heading="Settings",
        summary=("One sentence.", "Another."),
        tables=(Table("More", ("Name",), (("z",),)),),
        more_grids=(("Folded", (grid,)),),
        side_by_side=True,
        commands=(("single run", "msn-gan train"),),
    )


def test_html_has_every_part_and_escapes_text(report: Report) -> None:
    text = html_page(report)
    page = Page(text)
    assert page.open == [] and page.alts == ['grid "alt"', 'grid "alt"', "chart alt"]
    pictures = [link for link in page.links if not link.startswith("#")]
    assert len(pictures) == 2 and all(link.startswith("data:image/png;base64,") for link in pictures)
    # A click on a picture goes to the picture itself, which :target shows enlarged to a whole multiple of its width.
    assert page.ids == ["page", "picture-1", "picture-2"]
    assert [link for link in page.links if link.startswith("#")] == [
        *("#page", "#picture-1", "#page", "#picture-2"),
    ]
    assert text.count("--full: 900px") == 2 and "figure:target" in text  # 225 times 4 pixels
    parts = (
        "<title>Title &lt;t&gt;</title>",
        '<p class="soft">Made 2026-01-02 by msn-gan.</p>',
        '<p class="stopped">stopped &amp; gone</p>',
        '<p class="summary">One sentence.</p>',
        "<h2>Scores &lt;1&gt;</h2>",
        '<td>a | b</td><td class="best">1</td>',
        "<td>&lt;c&gt;</td><td>2</td>",
        "<li>note &lt;n&gt;</li>",
        "<h2>More</h2>",
        '<div class="pictures small">',
        "<figcaption>grid &amp; caption <a",
        "<summary>Folded</summary>",
        "<figcaption>chart &lt;caption&gt;</figcaption><svg",
        "<h2>Settings</h2>",
        "<dt>field | one</dt><dd>&lt;value&gt;</dd>",
        "<pre>msn-gan &#39;x &lt;y&gt;&#39;</pre>",
        "<p>single run</p><pre>msn-gan train</pre>",
    )
    places = [text.index(part) for part in parts]
    assert places == sorted(places)
    assert ":root { color-scheme: light dark;" in text  # the stylesheet is not escaped


def test_ranges_stand_below_their_means() -> None:
    """In one line they would make the table of a comparison wider than the page."""
    cells = (
        "sn",
        "2.00 (1.00 to 3.00)",
        "-5.73 (-5.94 to -5.53)",
        "cats (a to b) <c>",
        "1.00 ± 0.20",
        "1.00 ± 0.20 (p = 1)",
    )
    text = html_page(Report("T", Table("Scores", cells, (cells,)), None, (), (), (), "command", "now"))
    for mean, spread in (("2.00", "(1.00 to 3.00)"), ("-5.73", "(-5.94 to -5.53)")):
        assert f'<td>{mean} <span class="range">{spread}</span></td>' in text
    assert "<td>cats (a to b) &lt;c&gt;</td><td>1.00 ± 0.20</td>" in text
    assert '<td>1.00 <span class="range">± 0.20</span> <span class="range">(p = 1)</span></td>' in text


def test_markdown_has_every_part(report: Report, tmp_path: Path) -> None:
    assert markdown_page(report, tmp_path, [Path("images/chart-1.svg")]) == (
        "# Title <t>\n\nMade 2026-01-02.\n\n**stopped & gone**\n\nOne sentence.\n\nAnother.\n\n"
        "| Name | FID ↓ |\n| --- | ---: |\n| a \\| b | **1** |\n| <c> | 2 |\n\n- note <n>\n\n"
        "## More\n\n| Name |\n| --- |\n| z |\n\n\n"
        '![grid "alt"](grid.png)\n\n*grid & caption*\n\n## Folded\n\n![grid "alt"](grid.png)\n\n*grid & caption*\n\n'
        "![chart alt](images/chart-1.svg)\n\n*chart <caption>*\n\n"
        "## Settings\n\n| field | value |\n| --- | --- |\n| field \\| one | <value> |\n\n"
        "## Command\n\n    msn-gan 'x <y>'\n\nsingle run:\n\n    msn-gan train\n"
    )


def test_a_minimal_report(tmp_path: Path) -> None:
    report = Report("T", TABLE, None, (), (), (("a", "b"),), "command", "now")
    text = html_page(report)
    assert Page(text).open == [] and not {"details", "figure", "svg"} & Page(text).tags
    assert 'class="stopped"' not in text and 'class="summary"' not in text
    page = markdown_page(report, tmp_path, [])
    assert page.endswith("## Command\n\n    command\n") and "![" not in page and "**T" not in page


def test_best_cells() -> None:
    columns = {1: [1.0, None, 2.0], 2: [3.0, 3.0, 3.0], 3: [None, None, None], 4: [5.0, 5.0, 1.0]}
    assert best_cells(columns) == {(2, 1), (0, 4), (1, 4)}


def test_names_that_are_no_text_are_written(tmp_path: Path) -> None:
    """A file name of bytes that are not UTF-8 reaches Python with surrogates, which cannot be encoded."""
    table = Table("Scores", ("Target", "FID"), (("caf\udce9", "1.00"),))
    lines = [Line(name, [1, 2], [3.0, 4.0]) for name in ("caf\udce9", "other")]
    chart = line_chart("FID", lines, "steps")
    write_report(
        Report(
            title="caf\udce9", first=table, stopped=None, grids=(), charts=(chart,), facts=(), command="c", made="today"
        ),
        tmp_path,
        "report",
    )
    for name in ("report.html", "report.md"):
        assert r"caf\udce9" in (tmp_path / name).read_text(encoding="utf-8")
