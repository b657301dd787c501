"""Report of a classification: a row for each norm and learning rate, and curves over the epochs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gan.experiments.provenance import provenance_facts
from gan.experiments.report_parts import (
    DIVERGED_NOTE,
    Record,
    counted,
    dynamics_parts,
    image_set_text,
    interval_cell,
    interval_notes,
    mean_curve,
    stopped_note,
    unique,
)
from gan.experiments.summary import select_results
from gan.report.charts import line_chart
from gan.report.document import Figure, Report, Table, best_cells

Row = Mapping[str, Any]

_HEADER = ("Norm", "lr", "Final test accuracy, %", "Best, %", "Seeds", "Diverged", "Step, ms", "Parameters", "Added")
_SCORE_COLUMNS = {2: "final_test_accuracy", 3: "best_test_accuracy"}
# Key, title, factor, which values are better
_CURVES = (
    ("test_accuracy", "Test accuracy, %", 100.0, "more is better"),
    ("test_loss", "Test loss", 1.0, "less is better"),
    ("train_loss", "Training loss", 1.0, ""),
)


def classification_report(record: Record, folder: Path | None = None) -> Report:
    """Build the report of an experiment.

    Args:
        record: content of classify.json; at least one training is done.
        folder: folder of the run, whose measurements of training dynamics are shown; None: they are not.
    """
    rows: list[Row] = record["rows"]
    rates = unique(rows, "lr")

    def label(lr: float) -> str:
        return f"lr {lr!r}" if len(rates) > 1 else ""

    dynamics_charts, dynamics_notes = dynamics_parts(record, folder, "lr", label) if folder else ((), ())
    best = best_cells({column: [row[key] for row in rows] for column, key in _SCORE_COLUMNS.items()})
    notes = (*_notes(record), *dynamics_notes)
    norms = counted(len(unique(rows, "norm")), "norm")
    return Report(
        title=f"{record['config']['model']} on {record['data']['train']['name']}, under {norms}",
        first=Table("Results", _HEADER, tuple(map(_cells, rows)), best, notes),
        stopped=stopped_note(record),
        grids=(),
        charts=(*(chart for lr in rates for chart in _charts(record, lr, label(lr))), *dynamics_charts),
        facts=tuple(_facts(record)),
        command=record["command"],
        made=record["made"],
        facts_heading="Settings",
    )


def _cells(row: Row) -> tuple[str, ...]:
    accuracies = (
        interval_cell(row[key], row[f"{key}_half_width"], factor=100.0, missing="diverged")
        for key in _SCORE_COLUMNS.values()
    )
    return (
        row["norm"],
        f"{row['lr']!r}",
        *accuracies,
        str(row["seeds"]),
        str(row["diverged"]),
        "-" if row["step_seconds"] is None else f"{1e3 * row['step_seconds']:.1f}",
        f"{row['parameters']:,}",
        f"{row['added_parameters']:+,}",
    )


def _notes(record: Record) -> list[str]:
    rows = record["rows"]
    notes = list(record["warnings"])
    notes += interval_notes([(row["final_test_accuracy"], row["final_test_accuracy_half_width"]) for row in rows])
    notes += [
        "Best: the epoch with the highest test accuracy, picked on the test images, so optimistic.",
        "Step: median time of a training step, data loading included; trainings ran one after another.",
        "Added: parameters beyond those of the classifier without normalization.",
    ]
    if any(row["diverged"] for row in rows):
        notes.append(f"{DIVERGED_NOTE}.")
    for result in record["trainings"]:
        if diverged := result["diverged"]:
            training = f"{result['norm']}, lr {result['lr']!r}, seed {result['seed']}"
            notes.append(f"{training} diverged in epoch {diverged['epoch']}, step {diverged['step']}.")
    return notes


def _charts(record: Record, lr: float, label: str) -> list[Figure]:
    """Draw the curves of all norms at one learning rate: means over the seeds that did not diverge."""
    charts = []
    for key, title, factor, better in _CURVES:
        lines = []
        for number, norm in enumerate(unique(record["rows"], "norm")):
            results = select_results(record["trainings"], norm=norm, lr=lr, diverged=None)
            curves = [result["curve"] for result in results]
            line = mean_curve(norm, curves, key, at="epoch", factor=factor, series=number)
            lines += [line] if line and len(line.x) > 1 else []
        if lines:
            charts.append(line_chart(f"{title}{f', {label}' if label else ''}", lines, "epochs", better, title))
    return charts


def _facts(record: Record) -> list[tuple[str, str]]:
    config, data = record["config"], record["data"]
    shown = ("model", "epochs", "batch", "optimizer", "decay", "weight_decay", "augment", "deterministic")
    return [
        *((key.replace("_", " "), str(config[key])) for key in shown),
        *((f"{kind} images", image_set_text(data[kind], config)) for kind in ("train", "test")),
        ("classes", counted(len(data["classes"]), "class", "classes")),
        ("seeds", ", ".join(map(str, range(config["seeds"])))),
        *provenance_facts(record["trainings"]),
    ]
