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


def test_scores_that_some_trainings_lack(copy: Path) -> None:
    """Trainings of an older version have fewer scores; the tables show those that all have, and say so."""
    log = copy / RUN / "sn-seed0" / "log.jsonl"
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    for entry in entries:
        for key in ("density", "coverage"):
            entry.get("scores", {}).pop(key, None)
    log.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    record = compare(copy)
    assert "Not all trainings have these scores, which are not shown: Density, Coverage." in record["warnings"]
    assert [row["norm"] for row in record["rows"] if "density" not in row["final"]] == ["sn"]
    assert "density" not in {test["score"] for test in record["paired"]}
    assert "Density ↑" not in (copy / RUN / "report.md").read_text()
