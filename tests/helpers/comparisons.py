"""Small comparisons, named `r`, and what they left."""

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
    """The last checkpoints of some trainings, but for the time that they took."""
    found = {}
    for name in names:
        found[name] = checkpoint.load_checkpoint(root / RUN / name / f"step-{step:08d}.pt")
        del found[name]["seconds"]
    return found


def ask(root: Path, **given: Any) -> dict[str, Any]:
    assert run_comparison("r", None, None, given, root=root, device="cpu") is None
    return json.loads((root / RUN / "report.json").read_text())
