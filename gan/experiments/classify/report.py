"""From classify.json to what its pages show: a row for each norm and learning rate, and curves over the epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gan.dynamics.report import Findings, dynamics_findings
from gan.experiments import provenance
from gan.report.charts import Line, line_chart, mean_line
from gan.report.document import Figure, Report, Table
from gan.utils.confidence import Interval

Row = Mapping[str, Any]

_HEADER = ("Norm", "lr", "Final test accuracy, %", "Best, %", "Seeds", "Diverged", "Step, ms", "Parameters", "Added")
_FINAL, _BEST = 2, 3  # columns of which the highest is marked
# Curve, title, factor, what is better
_CURVES = (
    ("test_accuracy", "Test accuracy, %", 100.0, "more is better"),
    ("test_loss", "Test loss", 1.0, "less is better"),
    ("train_loss", "Training loss", 1.0, ""),
)


def classification_report(record: Mapping[str, Any], folder: Path | None = None) -> Report:
    """What the pages of an experiment show.

    Args:
        record: the content of classify.json; at least one training is done.
        folder: of the run, in whose trainings samples of training dynamics are looked for; None: they are not shown.
    """
    rows: list[Row] = record["rows"]
    config = record["config"]
    dynamics = _dynamics(record, folder) if folder else []
    results = Table(
        "Results",
        _HEADER,
        tuple(_cells(row) for row in rows),
        _marked(rows),
        (*_notes(record), *(note for found in dynamics for note in found.notes)),
    )
    return Report(
        title=f"{config['model']} on {record['data']['train']['name']}, under {_counted(len(_norms(rows)), 'norm')}",
        first=results,
        stopped=_stopped(record),
        grids=(),
        charts=(*_charts(record), *(picture for found in dynamics for picture in found.pictures)),
        facts=tuple(_facts(record)),
        command=record["command"],
        made=record["made"],
        facts_heading="Settings",
    )


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row["norm"],
        f"{row['lr']!r}",
        _accuracy(row, "final"),
        _accuracy(row, "best"),
        str(row["seeds"]),
        str(row["diverged"]),
        "-" if row["step_seconds"] is None else f"{1e3 * row['step_seconds']:.1f}",
        f"{row['parameters']:,}",
        f"{row['added_parameters']:+,}",
    )


def _accuracy(row: Row, kind: str) -> str:
    mean, half = row[f"{kind}_test_accuracy"], row[f"{kind}_test_accuracy_half_width"]
    if mean is None:
        return "diverged"
    return Interval(100 * mean, None if half is None else 100 * half).text()


def _marked(rows: Sequence[Row]) -> frozenset[tuple[int, int]]:
    """The highest mean of each kind."""
    found = []
    for column, kind in ((_FINAL, "final"), (_BEST, "best")):
        values = [-1.0 if row[f"{kind}_test_accuracy"] is None else row[f"{kind}_test_accuracy"] for row in rows]
        if min(values) < max(values):
            found += [(number, column) for number, value in enumerate(values) if value == max(values)]
    return frozenset(found)


def _norms(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row["norm"] for row in rows))


def _stopped(record: Mapping[str, Any]) -> str | None:
    done = len(record["trainings"])
    return None if done == record["planned"] else f"{done} of {record['planned']} trainings are done."


def _notes(record: Mapping[str, Any]) -> list[str]:
    rows = record["rows"]
    notes = list(record["warnings"])
    if any(row["final_test_accuracy_half_width"] is not None for row in rows):
        notes.append("± is half of the 95 % interval of the mean over seeds (Student's t).")
    if any(row["seeds"] - row["diverged"] == 1 for row in rows):
        notes.append("A mean without ± is that of one seed: it has no interval, and small differences say nothing.")
    notes.append("Best: in the epoch with the highest test accuracy, chosen on the test images and so too good.")
    notes.append(
        "Step: the median time of a training step, data included, as it was while training; "
        "trainings ran one after another."
    )
    notes.append("Added: parameters beyond those of the classifier without any norm.")
    if any(row["diverged"] for row in rows):
        notes.append("Diverged trainings are counted, and are in no mean.")
    for result in record["trainings"]:
        if result["diverged"]:
            where = f"epoch {result['diverged']['epoch']}, step {result['diverged']['step']}"
            notes.append(f"{result['norm']}, lr {result['lr']!r}, seed {result['seed']} diverged in {where}.")
    return notes


def _charts(record: Mapping[str, Any]) -> list[Figure]:
    """For each learning rate, curves of all norms: means over the seeds that did not diverge."""
    pictures = []
    rates = list(dict.fromkeys(row["lr"] for row in record["rows"]))
    for lr in rates:
        for key, title, factor, better in _CURVES:
            lines = []
            for norm in _norms(record["rows"]):
                own = [result for result in record["trainings"] if (result["norm"], result["lr"]) == (norm, lr)]
                line = _line(norm, [result["curve"] for result in own if not result["diverged"]], key, factor)
                lines += [line] if line else []
            if lines:
                which = f", lr {lr!r}" if len(rates) > 1 else ""
                pictures.append(line_chart(f"{title}{which}", lines, "epochs", better, title))
    return pictures


def _dynamics(record: Mapping[str, Any], folder: Path) -> list[Findings]:
    """For each learning rate, what was sampled of the trainings that did not diverge."""
    rates = list(dict.fromkeys(row["lr"] for row in record["rows"]))
    found = []
    for lr in rates:
        own = [result for result in record["trainings"] if result["lr"] == lr and not result["diverged"]]
        which = f"lr {lr!r}" if len(rates) > 1 else ""
        found.append(dynamics_findings([folder / result["folder"] for result in own], which))
    return found


def _line(norm: str, curves: Sequence[Mapping[str, Any]], key: str, factor: float) -> Line | None:
    """The mean of curves and its interval, in the epochs in which all have a finite value."""
    if not curves:
        return None
    epochs = zip(curves[0]["epoch"], *(curve[key] for curve in curves), strict=True)
    points = [(epoch, [factor * value for value in values]) for epoch, *values in epochs if None not in values]
    return mean_line(norm, points) if len(points) > 1 else None


def _facts(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    config, data = record["config"], record["data"]
    shown = ("model", "epochs", "batch", "optimizer", "decay", "weight_decay", "augment", "deterministic")
    lines = [(key.replace("_", " "), str(config[key])) for key in shown]
    for kind in ("train", "test"):
        found = data[kind]
        size = f"{config['resolution']}x{config['resolution']}x{config['channels']}"
        text = f"{found['images']:,} of {Path(found['name']).name}, {size}"
        lines.append((f"{kind} images", f"{text} (SHA-256 {found['fingerprint']})"))
    lines.append(("classes", _counted(len(data["classes"]), "class", "classes")))
    lines.append(("seeds", ", ".join(map(str, range(config["seeds"])))))
    return [*lines, *provenance.provenance_facts(record["trainings"])]


def _counted(count: int, one: str, many: str = "") -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"
