"""Small comparisons, named `r`, and the checkpoints that they wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gan.experiments.compare.experiment import run_comparison
from gan.runs import checkpoint
from tests.conftest import TINY

SMALL: dict[str, Any] = {**TINY, "channels": 1, "report_every": 2, "report_num": 20, "keep": 1}
BOTH = {**SMALL, "norms": ["sn", "msn"], "seeds": 1}
RUN = Path("checkpoints/r")


def states(root: Path, names: list[str], step: int = 4) -> dict[str, Any]:
    """Load the last checkpoints of trainings, without the time that they took."""
    loaded = {}
    for name in names:
        loaded[name] = checkpoint.load_checkpoint(root / RUN / name / f"step-{step:08d}.pt")
        del loaded[name]["seconds"]
    return loaded


def compare(root: Path, **overrides: Any) -> dict[str, Any]:
    """Run or resume comparison `r` to its end; return report.json."""
    assert run_comparison("r", None, None, overrides, root=root, device="cpu") is None
    return json.loads((root / RUN / "report.json").read_text())


def in_jobs(root: Path, jobs: int | None = 2, **given: Any) -> int | None:
    """Run or resume comparison `r` with `--jobs`; returns the signal that stopped it."""
    return run_comparison("r", None, None, given, root=root, device="cpu", jobs=jobs)
