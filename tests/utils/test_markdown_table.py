"""Markdown tables: alignment, padding, escaped separators."""

from __future__ import annotations

from gan.utils.markdown_table import markdown_table


def test_plain_table() -> None:
    assert markdown_table(["a", "b"], [["x | y", 1]]).splitlines() == ["| a | b |", "| --- | --- |", "| x \\| y | 1 |"]


def test_numbers_are_aligned_to_the_right() -> None:
    assert markdown_table(["a", "b", "c"], [], align_right=True).splitlines()[1] == "| --- | ---: | ---: |"


def test_padded_columns_line_up() -> None:
    assert markdown_table(["name", "b"], [["x", "long cell"]], pad=True).splitlines() == [
        "| name | b         |",
        "| ---- | --------- |",
        "| x    | long cell |",
    ]
