"""Report of a classification: a row for each norm and learning rate, and curves over the epochs."""

from collections.abc import Sequence
from pathlib import Path

from gan.config.plugins import describe
from gan.experiments import report_parts as parts
from gan.experiments.provenance import provenance_facts
from gan.experiments.summary import Result, select_results
from gan.report.charts import line_chart
from gan.report.document import Figure, Report, Table, best_cells
from gan.utils.counted import counted

# Key, title, factor, which values are better
_CURVES = (
    ("test_accuracy", "Test accuracy, %", 100.0, "more is better"),
    ("test_loss", "Test loss", 1.0, "less is better"),
    ("train_loss", "Training loss", 1.0, ""),
)


def classification_report(record: parts.Record, folder: Path | None = None) -> Report:
    """Build the report of an experiment.

    Args:
        record: content of classify.json; at least one training is done.
        folder: folder of the run, whose measurements of training dynamics are shown; None: they are not.
    """
    rows: list[Result] = record["rows"]
    rates = parts.unique(rows, "lr")

    def label(lr: float) -> str:
        return f"lr {lr!r}" if len(rates) > 1 else ""

    dynamics_charts, dynamics_notes = parts.dynamics_parts(record, folder, "lr", label) if folder else ((), ())
    norms = counted(len(parts.unique(rows, "norm")), "norm")
    generator = record["data"].get("generated")
    real = record["data"]["train"]["name"] if generator is None else Path(record["config"]["data"]).name
    title = f"{record['config']['model']} on {real}, under {norms}"
    return Report(
        title=title if generator is None else f"Classification accuracy score (CAS): {title}",
        first=_results_table(rows, [*_notes(record), *dynamics_notes], generated=generator is not None),
        stopped=parts.stopped_note(record),
        grids=(),
        charts=(*(chart for lr in rates for chart in _charts(record, lr, label(lr))), *dynamics_charts),
        facts=tuple(_facts(record)),
        command=record["command"],
        made=record["made"],
        facts_heading="Settings",
    )


def _results_table(rows: Sequence[Result], notes: Sequence[str], *, generated: bool) -> Table:
    final = "CAS: final test accuracy, %" if generated else "Final test accuracy, %"
    accuracies = {final: "final_test_accuracy", "Best, %": "best_test_accuracy"}
    columns = {
        "Norm": [row["norm"] for row in rows],
        "lr": [repr(row["lr"]) for row in rows],
        **{
            title: [parts.mean_cell(row[f"{key}_values"], factor=100.0, missing="diverged") for row in rows]
            for title, key in accuracies.items()
        },
        "Seeds": [str(row["seeds"]) for row in rows],
        "Diverged": [str(row["diverged"]) for row in rows],
        "Step, ms": [parts.number_cell(row["step_seconds"], "{:.1f}", 1e3) for row in rows],
        "Parameters": [f"{row['parameters']:,}" for row in rows],
        "Added": [f"{row['added_parameters']:+,}" for row in rows],
    }
    positions = {list(columns).index(title): [row[key] for row in rows] for title, key in accuracies.items()}
    return parts.table_of("Results", columns, notes, best_cells(positions))


def _notes(record: parts.Record) -> list[str]:
    rows = record["rows"]
    notes = [*_generator_notes(record), *record["warnings"]]
    notes += parts.spread_notes([row["final_test_accuracy_values"] for row in rows])
    notes += [
        "Best: the epoch with the highest test accuracy, picked on the test images, so optimistic.",
        "Step: median time of a training step, with data loading and what other work on the machine (--jobs) cost; "
        "`msn-gan bench` compares times in turn.",
        "Added: parameters beyond those of the classifier without normalization.",
    ]
    if any(row["diverged"] for row in rows):
        notes.append(f"{parts.DIVERGED_NOTE}.")
    for result in record["trainings"]:
        if diverged := result["diverged"]:
            training = f"{result['norm']}, lr {result['lr']!r}, seed {result['seed']}"
            notes.append(f"{training} diverged in epoch {diverged['epoch']}, step {diverged['step']}.")
    return notes


def _generator_notes(record: parts.Record) -> list[str]:
    """Say that the training images are generated, by what, and how to get the accuracy of real ones."""
    if not (generator := record["data"].get("generated")):
        return []
    count = counted(record["data"]["train"]["images"], "image")
    notes = [
        f"CAS: the accuracy on real test images of a classifier trained on generated images alone: {count} of "
        f"{generator['checkpoint']} (EMA weights, classes in turn, seed {generator['seed']}).",
        f"Accuracy with real training images, to compare with: {record['real_command']}",
    ]
    if not generator["same_images"]:
        notes.append(
            f"The generator was trained on other images ({generator['trained_on']}) than the real training images of "
            "this run; if they include test images, the CAS is too high."
        )
    return notes


def _charts(record: parts.Record, lr: float, label: str) -> list[Figure]:
    """Draw the curves of all norms at one learning rate: means over the seeds that did not diverge."""
    charts = []
    norms, results = parts.unique(record["rows"], "norm"), select_results(record["trainings"], lr=lr, diverged=None)
    for key, title, factor, better in _CURVES:
        if lines := parts.mean_lines(norms, results, "curve", key, at="epoch", factor=factor):
            if key == "test_accuracy" and "generated" in record["data"]:
                title = "CAS: test accuracy, %"
            charts.append(line_chart(f"{title}{f', {label}' if label else ''}", lines, "epochs", better, title))
    return charts


def _facts(record: parts.Record) -> list[tuple[str, str]]:
    config, data = record["config"], record["data"]
    shown = ("model", "epochs", "batch", "optimizer", "decay", "weight_decay", "augment", "deterministic")
    return [
        *((key.replace("_", " "), str(config[key])) for key in shown),
        *((f"{kind} images", parts.image_set_text(data[kind], config)) for kind in ("train", "test")),
        *_generator_facts(data),
        ("classes", counted(len(data["classes"]), "class")),
        ("seeds", ", ".join(map(str, range(config["seeds"])))),
        *([("own code", describe(record["plugins"]))] if "plugins" in record else []),
        *provenance_facts(record["trainings"]),
    ]


def _generator_facts(data: parts.Record) -> list[tuple[str, str]]:
    if not (generator := data.get("generated")):
        return []
    text = f"{generator['checkpoint']}, step {generator['step']:,} (SHA-256 {generator['sha256']})"
    return [("training images generated by", text)]
