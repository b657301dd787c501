"""Warnings about scores in a comparison: on the terminal, in report.json and on the pages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.helpers.comparisons import BOTH, RUN, compare


def test_a_warning_about_scores_is_printed_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compare(tmp_path, **BOTH)
    told = capsys.readouterr().err
    assert told.count("FID from 20 images is far too high") == 1 and told.count("step 2: FID") == 2


def test_few_images_are_a_warning(made: Path) -> None:
    """20 images for a FID are as few in `compare` as in `report`."""
    record = json.loads((made / RUN / "report.json").read_text())
    (line,) = [line for line in record["score_warnings"] if line.startswith("FID from 20 images is far too high")]
    for name in ("report.html", "report.md"):
        assert line in (made / RUN / name).read_text()
