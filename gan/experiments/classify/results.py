"""Results of classifier trainings, read from `result.json` and `log.jsonl`, and their means over seeds."""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from gan.experiments.classify.config import ClassifyConfig, ClassifyTraining
from gan.experiments.provenance import RESULT, refuse_damaged
from gan.experiments.summary import count_fields, mean_and_half_width, median_of, select_results
from gan.models import count_parameters
from gan.models.classifiers import build_classifier
from gan.runs import log

_CURVE = ("epoch", "train_loss", "train_accuracy", "test_loss", "test_accuracy", "step_seconds")


def read_classify_result(folder: Path) -> dict[str, Any] | None:
    """Read the result of a finished training, with its curve and what follows from it; None if it is not finished.

    `curve` has a list for each of `_CURVE`, with one value per epoch. `final` and `best` have `epoch`, `test_accuracy`
    and `test_loss` of the last epoch and of the first epoch with the highest test accuracy; None if no epoch was
    completed. `step_seconds` is the median over epochs of their median step.

    Raises:
        UserError: its files are damaged.
    """
    path = folder / RESULT
    if not path.exists():
        return None
    with refuse_damaged(folder):
        facts = json.loads(path.read_text())
        epochs = [{key: entry[key] for key in _CURVE} for entry in log.read_log(folder / log.LOG)]
        points = [{key: epoch[key] for key in ("epoch", "test_accuracy", "test_loss")} for epoch in epochs]
        return {
            **facts,
            "folder": folder.name,
            "final": points[-1] if points else None,
            "best": max(points, key=lambda point: point["test_accuracy"]) if points else None,
            "step_seconds": median_of(epochs, "step_seconds"),
            "curve": {key: [epoch[key] for epoch in epochs] for key in _CURVE},
        }


def summarize_classifiers(
    done: Sequence[dict[str, Any]], plain_parameters: int, order: Iterable[ClassifyTraining]
) -> list[dict[str, Any]]:
    """Return a row for each norm and learning rate: means over the seeds that did not diverge, and counts.

    Args:
        done: what `read_classify_result` returns.
        plain_parameters: parameter count of the classifier without normalization.
        order: all planned trainings, in the order of the rows.
    """
    rows = []
    for norm, lr in dict.fromkeys((training.norm, training.lr) for training in order):
        results = select_results(done, norm=norm, lr=lr)
        if not results:
            continue
        row: dict[str, Any] = {
            "norm": norm,
            "lr": lr,
            **count_fields(results, results[0]["parameters"], plain_parameters),
            "step_seconds": median_of(results, "step_seconds"),
        }
        for kind in ("final", "best"):
            values = [result[kind]["test_accuracy"] for result in select_results(results, diverged=None)]
            row[f"{kind}_test_accuracy_values"] = values
            row[f"{kind}_test_accuracy"], row[f"{kind}_test_accuracy_half_width"] = mean_and_half_width(values)
        rows.append(row)
    return rows


@cache
def plain_parameters(config: ClassifyConfig, classes: int) -> int:
    """Return the parameter count of the classifier without normalization; the config is a resolved one."""
    assert config.channels is not None
    network = build_classifier(
        config.model, "none", resolution=config.resolution, channels=config.channels, classes=classes
    )
    return count_parameters(network)


def describe_result(result: Mapping[str, Any]) -> str:
    """Return the accuracy and time of a training, or where it diverged, in words.

    Args:
        result: what `read_classify_result` returns.
    """
    if diverged := result["diverged"]:
        return f"diverged in epoch {diverged['epoch']}, step {diverged['step']}: the loss is not finite"
    final, best = result["final"], result["best"]
    return (
        f"test accuracy {final['test_accuracy']:.2%}, at best {best['test_accuracy']:.2%} (epoch {best['epoch']}); "
        f"{1e3 * result['step_seconds']:.1f} ms a step"
    )
