"""What trainings gave, read from their folders: `result.json`, `log.jsonl`, and the numbers of all together."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from gan.errors import UserError
from gan.experiments.classify.config import ClassifyTraining
from gan.runs import log
from gan.utils.confidence import confidence_interval
from gan.utils.files import write_json

RESULT = "result.json"

_CURVE = ("epoch", "train_loss", "train_accuracy", "test_loss", "test_accuracy", "step_seconds")


def write_classify_result(folder: Path, facts: dict[str, Any]) -> None:
    """Say that a training is done: `result.json`.

    Args:
        facts: what is not in the log; `diverged` is None, or has `epoch` and `step`.

    Raises:
        UserError: the file cannot be written.
    """
    write_json(folder / RESULT, facts)


def read_classify_result(folder: Path) -> dict[str, Any] | None:
    """The result of a training that is done, with its curve and what follows from it; None if it is not done.

    `curve` has a list for each of `_CURVE`, a value for each epoch. `final` and `best` have `epoch`, `test_accuracy`
    and `test_loss` of the last epoch and of that with the highest test accuracy (the first of several); None where
    no epoch was completed. `step_seconds` is the median step of the median epoch.

    Raises:
        UserError: its files are damaged.
    """
    path = folder / RESULT
    if not path.exists():
        return None
    try:
        facts = json.loads(path.read_text())
        entries = log.read_log(folder / log.LOG)
        curve = {key: [entry[key] for entry in entries] for key in _CURVE}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder}: is damaged ({error}); remove it, and it is trained again") from error
    points = [
        {"epoch": epoch, "test_accuracy": accuracy, "test_loss": loss}
        for epoch, accuracy, loss in zip(curve["epoch"], curve["test_accuracy"], curve["test_loss"], strict=True)
    ]
    return {
        **facts,
        "folder": folder.name,
        "final": points[-1] if points else None,
        "best": max(points, key=lambda point: point["test_accuracy"]) if points else None,
        "step_seconds": median(curve["step_seconds"]) if points else None,
        "curve": curve,
    }


def summarize_classifiers(
    done: Sequence[dict[str, Any]], plain_parameters: int, order: Iterable[ClassifyTraining]
) -> list[dict[str, Any]]:
    """A row for each norm and learning rate: means over the seeds that did not diverge, and how many did.

    Args:
        done: what `read` gave.
        plain_parameters: of the classifier without any norm.
        order: all trainings that are planned, in the order of the rows.
    """
    rows = []
    for norm, lr in dict.fromkeys((training.norm, training.lr) for training in order):
        own = [result for result in done if (result["norm"], result["lr"]) == (norm, lr)]
        if not own:
            continue
        whole = [result for result in own if result["diverged"] is None]
        times = [result["step_seconds"] for result in own if result["step_seconds"] is not None]
        row: dict[str, Any] = {
            "norm": norm,
            "lr": lr,
            "seeds": len(own),
            "diverged": len(own) - len(whole),
            "step_seconds": median(times) if times else None,
            "parameters": own[0]["parameters"],
            "added_parameters": own[0]["parameters"] - plain_parameters,
        }
        for kind in ("final", "best"):
            values = [result[kind]["test_accuracy"] for result in whole]
            found = confidence_interval(values) if values else None
            row[f"{kind}_test_accuracy"] = found.mean if found else None
            row[f"{kind}_test_accuracy_half_width"] = found.half if found else None
        rows.append(row)
    return rows
