"""Tables and the chart of paired differences."""

from __future__ import annotations

from pathlib import Path

import pytest

from gan.experiments.compare.charts import difference_charts
from gan.experiments.compare.paired_tables import paired_tables
from gan.experiments.compare.report import comparison_report
from gan.report.document import Table
from gan.report.terminal import print_report
from gan.report.write import write_report
from tests.helpers.comparison_records import comparison_record
from tests.helpers.pages import Page

TWELVE = {f"arm{k}": [40.0 + 3 * k + (seed * (k + 1)) % 5 for seed in range(12)] for k in range(12)}


def column(table: Table, name: str) -> list[str]:
    return [row[table.header.index(name)] for row in table.rows]


def test_two_arms_have_no_matrix() -> None:
    tests, others = paired_tables(comparison_record({"sn": [10.0, 12.0, 11.0], "msn": [9.0, 10.0, 10.5]}))
    assert [table.heading for table in (tests, others)] == [
        "Paired tests of final FID",
        "Differences of the other scores",
    ]
    assert tests.rows[0][:4] == ("sn − msn", "1.17 (0.50 to 2.00)", "1.53", "0.25")
    assert "Corrected p" not in tests.header and tests.best == frozenset()
    assert column(tests, "Seeds") == ["3"] and column(tests, "Seeds to show 1, 2, 5 FID") == ["8; 6; 6"]
    assert any(note.startswith("With 3 seeds no difference can be significant") for note in tests.notes)
    assert not any("Holm" in note for note in tests.notes)
    scores = ("Inception score", "KID × 10³", "Precision", "Recall", "Density", "Coverage")
    assert others.header == ("Difference", *scores, "Best FID")


def test_one_seed_has_no_spread() -> None:
    tests = paired_tables(comparison_record({"sn": [10.0], "msn": [9.0]}))[0]
    assert tests.rows == (("sn − msn", "1.00", "-", "1", "1"),)


@pytest.mark.parametrize("arms", [3, 12])
def test_the_matrix_is_row_minus_column(arms: int) -> None:
    fids = dict(list(TWELVE.items())[:arms][::-1])
    record = comparison_record(fids)
    matrix = paired_tables(record)[1]
    names = sorted(fids, key=lambda name: sum(fids[name]))
    assert matrix.header == ("Row minus column", *names[:-1]) and column(matrix, "Row minus column") == names[1:]
    for row, (name, *cells) in enumerate(matrix.rows):
        for number, cell in enumerate(cells):
            assert (cell == "") == (number > row)
            if cell:
                mean = sum(fids[name]) / 12 - sum(fids[names[number]]) / 12
                assert float(cell.split()[0]) == pytest.approx(mean, abs=0.006) and " ± " in cell and "(p = " in cell
    significant = {frozenset(test["norms"]) for test in record["paired"] if test["significant"]}
    assert significant == {frozenset((names[row + 1], names[number - 1])) for row, number in matrix.best}
    assert significant


def test_a_baseline_has_one_row_for_each_arm() -> None:
    tables = paired_tables(comparison_record(TWELVE, baseline="arm3"))
    assert len(tables) == 2
    assert column(tables[0], "Difference") == [f"{arm} − arm3" for arm in TWELVE if arm != "arm3"]
    assert any("for the 11 tests of final FID (each arm against arm3)" in note for note in tables[0].notes)


def test_settings_share_the_correction() -> None:
    fids = {arm: TWELVE[arm] for arm in ("arm0", "arm1", "arm2")}
    tests, *matrices, others = paired_tables(comparison_record({"A": fids, "B": fids}))
    assert [matrix.heading for matrix in matrices] == [
        f"Differences of final FID between all arms, setting {setting}" for setting in "AB"
    ]
    assert [row[0] for row in tests.rows] == [f"{s}: {arm} − arm0" for s in "AB" for arm in ("arm1", "arm2")]
    assert len(others.rows) == 4
    assert any("the 6 tests of final FID (all pairs of arms, under all settings)" in note for note in tests.notes)


def test_seeds_left_out_are_named() -> None:
    tests = paired_tables(comparison_record({"a": [1.0, 2.0], "b": [None, 3.0], "c": [4.0, 5.0]}))[0]
    assert "Seeds left out of b − a, because one of the two arms was not trained to the end: 0." in tests.notes


@pytest.mark.parametrize("arms", [2, 12])
def test_pages(arms: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = comparison_record(dict(list(TWELVE.items())[:arms]))
    report = comparison_report(record, tmp_path)
    write_report(report, tmp_path, "report")
    page = Page((tmp_path / "report.html").read_text())
    assert page.open == []
    print_report(report)
    assert "too wide" not in capsys.readouterr().out  # a file has room for all columns
    if arms == 12:
        assert '<span class="range">± ' in (tmp_path / "report.html").read_text()


def test_chart_of_differences() -> None:
    record = comparison_record({"sn": [10.0, 12.0, 11.0, 9.0], "msn": [9.0, 10.0, 10.5, 8.0], "bn": [None] * 4})
    (chart,) = difference_charts(record)
    assert chart.alt.startswith("FID minus that of msn: sn 1.12 ± 1.00")
    assert chart.caption == "FID minus that of msn (lines are 95 % intervals)"
    few = comparison_record({"sn": [10.0, 12.0], "msn": [9.0, 10.0]}, baseline="sn")
    assert difference_charts(few)[0].caption == "FID minus that of sn (thin marks are single seeds)"
    assert not difference_charts(comparison_record({"sn": [10.0]}))
