"""A comparison that is killed at any moment and resumed ends with the same bytes as an uninterrupted one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gan.runs import log as runlog
from tests.helpers.comparisons import RUN, SMALL, states
from tests.helpers.runs import compare_to_end
from tests.helpers.states import same_bytes

FLAGS = {**SMALL, "norms": ["sn", "msn"], "seeds": 1, "steps": 6, "report_every": 3, "checkpoint_every": 2}
NAMES = ["sn-seed0", "msn-seed0"]
TIMES = {"seconds", "images_per_second"}


def outcome(root: Path) -> dict[str, Any]:
    """Return all outputs of a comparison, without times."""
    outputs: dict[str, Any] = {"states": states(root, NAMES, 6)}
    for name in NAMES:
        log = runlog.read_log(root / RUN / name / "log.jsonl")
        outputs[name] = [{key: entry[key] for key in entry.keys() - TIMES} for entry in log]
        names = [path.name for folder in (RUN, Path("samples/r")) for path in (root / folder / name).iterdir()]
        outputs[f"files of {name}"] = sorted(name for name in names if "tfevents" not in name)
    record = json.loads((root / RUN / "report.json").read_text())
    outputs["final"] = [{**result["final"], "seconds": 0} for result in record["trainings"]]
    outputs["words"] = [(test["words"], test["difference"]) for test in record["paired"]]
    return outputs


@pytest.mark.slow
def test_killed_and_begun_again_is_never_stopped(tmp_path: Path) -> None:
    assert compare_to_end(tmp_path / "whole", FLAGS)
    moments = [("save", 2), ("score", 1), ("renamed", 2), ("score", 2)]
    assert not any(compare_to_end(tmp_path / "killed", FLAGS, moment) for moment in moments)
    assert compare_to_end(tmp_path / "killed", {})  # settings may be left out
    same_bytes(outcome(tmp_path / "killed"), outcome(tmp_path / "whole"))
    assert not list((tmp_path / "killed").rglob("*.partial"))
