"""Small reports of scores"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gan.evaluation.evaluator import evaluate
from gan.evaluation.options import EvaluationOptions
from gan.metrics.extractor import ExtractorOptions
from gan.training import train
from tests.conftest import TINY

DIGITS = ExtractorOptions(features="digits", device="cpu")


def trained(root: Path, **flags: Any) -> Path:
    """The folder of checkpoints of a run of a few steps, whose images differ."""
    flags = {**TINY, "g_lr": 0.1, **flags}
    train.train_run("r", None, None, flags, resume=False, dry_run=False, root=root, device="cpu")
    return root / "checkpoints" / "r"


def ask(out: Path, *targets: Path | str, overwrite: bool = False, **flags: Any) -> dict[str, Any]:
    flags = {"extractor": DIGITS, "num": 40, **flags}
    record, error, folder = evaluate(EvaluationOptions(tuple(map(str, targets)), **flags), out, overwrite=overwrite)
    assert error is None and folder == out
    assert json.loads((out / "report.json").read_text()) == record
    return record
