"""The report of an evaluation: report.md, report.html and charts, made from report.json and the logs of runs."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import stdev
from typing import Any

from gan.config import plugins
from gan.dynamics.report import dynamics_findings
from gan.evaluation.copies import copy_figures, copy_notes
from gan.evaluation.per_class_report import class_findings
from gan.evaluation.report_notes import error_notes, logged_notes, reference_notes, set_notes
from gan.metrics.protocol import Protocol, protocol_differences
from gan.metrics.score_table import SCORES, Score, fid_text
from gan.report.charts import Line, band_around, line_chart
from gan.report.document import Figure, Report, Table, best_cells
from gan.report.write import write_report
from gan.runs.log import read_log
from gan.utils.counted import counted
from gan.utils.progress import working

_MAX_GRIDS = 6  # of one run
_FACT_NAMES = {
    "engine": "scoring version",
    "quantisation": "images rounded to",
    "ema": "EMA generator",
    "fid_infinity_subsets": "subsets of FID∞",
    "standing_stats": "batches behind G's batch-norm statistics",
    "neighbours": "k of precision and recall",
    "density_neighbours": "k of density and coverage",
    "ct_cells": "cells of C_T",
    "held_out": "held-out images",
    "held_out_content": "held-out content",
    "held_out_count": "held-out count",
}

Row = Mapping[str, Any]


def write_evaluation_report(folder: Path) -> Report:
    """Write report.md, report.html and charts beside the report.json of a folder.

    Raises:
        OSError: a file cannot be read or written.
    """
    with working("drawing the report"):
        report = evaluation_report(json.loads((folder / "report.json").read_text(encoding="utf-8")), folder)
        write_report(report, folder, "report")
    return report


def evaluation_report(record: Mapping[str, Any], folder: Path) -> Report:
    """Build the report from the content of report.json.

    Args:
        folder: contains the grids; logs are read from the paths in the record.
    """
    results: list[Row] = record["results"]
    scores = [score for score in SCORES if score.key in results[0]]
    named = "protocols" in record
    letters = [row["named_protocol"] for row in results] if named else _protocol_letters(results)
    mixed = len(set(letters)) > 1
    values = {number: [score.better * row[score.key] for row in results] for number, score in enumerate(scores, 1)}
    classes = class_findings(results, mixed=mixed and not named)
    dynamics = dynamics_findings([path.parent for path in _logs(results)])
    protocol = results[0]["protocol"]
    against = f" against {Path(protocol['reference']).name}" if protocol["reference"] else ""
    stopped = f"Stopped after {len(results)} of {record['planned']}: {record['stopped']}"
    draws = record["settings"].get("repeats", 1)
    spread = [f"FID SD, {draws} draws"] if draws > 1 else []
    table = Table(
        "Scores",
        ("Target", *(score.header for score in scores), *spread, "Images", *(["Protocol"] if mixed or named else [])),
        tuple(
            (
                row["name"],
                *(_score_text(score, row) for score in scores),
                *(_spread_text(row) for _ in spread),
                f"{row['protocol']['generated_count']:,}",
                *([letter] if mixed or named else []),
            )
            for row, letter in zip(results, letters, strict=True)
        ),
        frozenset() if mixed else best_cells(values),
        (*_notes(record, scores, mixed), *logged_notes(results, _logs(results)), *dynamics.notes),
    )
    return Report(
        title=f"Image quality{against} ({protocol['extractor']} features)",
        first=table,
        stopped=stopped if record["stopped"] else None,
        grids=(*_grids(record, folder), *copy_figures([rows[-1] for rows in _by_target(results)], folder)),
        more_grids=tuple(_earlier_copies(results, folder)),
        charts=(*_score_charts(results, scores), *_training_charts(results), *dynamics.figures),
        facts=tuple(_facts(record, letters)),
        command=record["command"],
        made=record["made"],
        summary=classes.summary,
        first_charts=classes.charts,
        tables=classes.tables,
    )


def _score_text(score: Score, row: Row) -> str:
    value = score.factor * row[score.key]
    if score.key.startswith("fid"):
        text = fid_text(value)
    else:
        text = f"{value:.{score.digits}f}"
    only_one = {"kid": "kid_subsets", "inception_score": "is_splits"}.get(score.key, "")
    if score.spread is None or row["protocol"].get(only_one) == 1:
        return text
    return f"{text} ± {score.factor * row[score.spread]:.{max(score.digits, len(text.partition('.')[2]))}f}"


def _spread_text(row: Row) -> str:
    return f"{stdev(row['repeats']['fid']):.2f}" if "repeats" in row else "-"


def _protocol_letters(rows: Iterable[Row]) -> list[str]:
    """A letter for each row; rows whose protocols agree have the same letter."""
    distinct: list[Protocol] = []
    letters = []
    for row in rows:
        protocol = Protocol.from_json(row["protocol"])
        same = (number for number, other in enumerate(distinct) if not protocol_differences(other, protocol))
        number = next(same, len(distinct))
        if number == len(distinct):
            distinct.append(protocol)
        before, last = divmod(number, 26)  # A to Z, then AA, AB, ...
        letters.append((chr(ord("A") + before - 1) if before else "") + chr(ord("A") + last))
    return letters


def _logs(results: Sequence[Row]) -> list[Path]:
    return [Path(path) for path in dict.fromkeys(row["log"] for row in results if row.get("log"))]


def _notes(record: Mapping[str, Any], scores: Sequence[Score], mixed: bool) -> list[str]:
    results = record["results"]
    notes = list(record.get("protocols", ()))
    if mixed and not notes:
        notes.append("The rows have different protocols: compare only rows with the same letter.")
    if any(score.better for score in scores):
        notes.append("↓ less is better, ↑ more is better.")
    notes += [*copy_notes(results), *error_notes(record)]
    for warning in dict.fromkeys(line for row in results for line in row["warnings"]):
        names = [_row_name(row) for row in results if warning in row["warnings"]]
        notes.append(warning if len(names) == len(results) else f"{', '.join(names)}: {warning}")
    notes += [f"{line}." for line in record.get("notes", [])]
    notes += [f"Skipped: {line}" for line in record.get("passed_over", [])]
    for reference in (record["reference"], *record.get("other_references", ())):
        notes += reference_notes(reference) if reference else ()
    return notes + [*dict.fromkeys(f"{row['name']}: {note}" for row in results for note in set_notes(row))]


def _row_name(row: Row) -> str:
    return ", ".join(filter(None, (row["name"], _row_protocol(row))))


def _grids(record: Mapping[str, Any], folder: Path) -> list[Figure]:
    """The grids that exist: real images, then at most `_MAX_GRIDS` of each target, evenly spaced."""
    figures = []
    first = _row_protocol(record["results"][0])  # others show the same images
    if not record["results"][0]["grid"]:  # scored without an output folder
        return []
    if record["real_grid"]:
        name = Path(record["results"][0]["protocol"]["reference"]).name
        figures.append(Figure(f"Real images of {name}, in a grid", f"Real: {name}", folder / record["real_grid"]))
    for rows in _by_target([row for row in record["results"] if _row_protocol(row) == first]):
        count = min(len(rows), _MAX_GRIDS)
        step = (len(rows) - 1) / max(1, count - 1)
        for row in (rows[round(index * step)] for index in range(count)):
            fid = f": FID {_score_text(SCORES[0], row)}" if "fid" in row else ""
            images = "The first images" if row["kind"] == "checkpoint" else "Images"
            figures.append(Figure(f"{images} of {row['name']}, in a grid", f"{row['name']}{fid}", folder / row["grid"]))
    return [figure for figure in figures if figure.path and figure.path.exists()]


def _earlier_copies(results: Sequence[Row], folder: Path) -> Iterator[tuple[str, tuple[Figure, ...]]]:
    """A collapsed section with the nearest real images of all checkpoints but the last of each run."""
    if figures := copy_figures([row for rows in _by_target(results) for row in rows[:-1]], folder):
        yield "Nearest real images of earlier checkpoints", tuple(figures)


def _by_target(results: Sequence[Row]) -> list[list[Row]]:
    targets = dict.fromkeys((row["target"], _row_protocol(row)) for row in results)
    return [[row for row in results if (row["target"], _row_protocol(row)) == target] for target in targets]


def _row_protocol(row: Row) -> str:
    return str(row.get("named_protocol", ""))


def _score_charts(results: Sequence[Row], scores: Sequence[Score]) -> list[Figure]:
    """One chart for each score, with a line for each run that has several checkpoints."""
    runs = [sorted(rows, key=lambda row: row["step"]) for rows in _by_target(results) if len(rows) > 1]
    if not runs:
        return []
    short = _short_names([*dict.fromkeys(rows[0]["target"] for rows in runs)])
    of_target = dict(zip(dict.fromkeys(rows[0]["target"] for rows in runs), short, strict=True))
    names = [_row_name({**rows[0], "name": of_target[rows[0]["target"]]}) for rows in runs]
    # Runs with different numbers of images in a step are compared by images.
    rates = {row["images_seen"] / row["step"] for rows in runs for row in rows if row["step"]}
    key, x_label = ("step", "generator steps") if len(rates) == 1 else ("images_seen", "real images seen")
    charts = []
    for score in scores:
        lines = []
        for name, rows in zip(names, runs, strict=True):
            values = [score.factor * row[score.key] for row in rows]
            band = band_around(values, [score.factor * row[score.spread] for row in rows]) if score.spread else None
            lines.append(Line(name, [row[key] for row in rows], values, band))
        charts.append(line_chart(score.title, lines, x_label, score.direction))
    return charts


def _training_charts(results: Sequence[Row]) -> list[Figure]:
    """Charts of the logged losses of each run, then of the FID logged during training."""
    charts: list[Figure] = []
    scored: list[tuple[str, Row]] = []
    paths = _logs(results)
    for path, name in zip(paths, _short_names([str(path.parent) for path in paths]), strict=True):
        entries = read_log(path)
        losses = [entry for entry in entries if entry.get("loss_d") is not None and entry.get("loss_g") is not None]
        if len(losses) > 1:
            steps = [entry["step"] for entry in losses]
            lines = [
                Line(label, steps, [entry[key] for entry in losses])
                for label, key in (("discriminator", "loss_d"), ("generator", "loss_g"))
            ]
            charts.append(line_chart(f"Losses of {name}", lines, "generator steps", "", y_label="loss"))
        scored += [(name, entry) for entry in entries if "scores" in entry]
    return [*charts, *_logged_score_charts(scored)]


def _logged_score_charts(scored: Sequence[tuple[str, Row]]) -> list[Figure]:
    """One chart of the logged FID for each protocol, with a line for each run.

    Args:
        scored: (name of the run, log entry).
    """
    letters = _protocol_letters(entry for _, entry in scored)
    charts = []
    for letter in dict.fromkeys(letters):
        runs: dict[str, list[Row]] = {}
        for (name, entry), other in zip(scored, letters, strict=True):
            if other == letter:
                runs.setdefault(name, []).append(entry)
        lines = [
            Line(name, [entry["step"] for entry in entries], [entry["scores"]["fid"] for entry in entries])
            for name, entries in runs.items()
            if len(entries) > 1
        ]
        if lines:
            protocol = next(iter(runs.values()))[0]["protocol"]
            details = f", {counted(protocol['generated_count'], 'image')}, {protocol['extractor']} features"
            title = f"FID logged in training{details if len(set(letters)) > 1 else ''}"
            charts.append(line_chart(title, lines, "generator steps", SCORES[0].direction))
    return charts


def _short_names(paths: Sequence[str]) -> list[str]:
    """The last component of each path; the whole path where several share it."""
    last = [Path(path).name for path in paths]
    return [path if last.count(name) > 1 else name for path, name in zip(paths, last, strict=True)]


def _facts(record: Mapping[str, Any], letters: Sequence[str]) -> list[tuple[str, str]]:
    """Every field of the protocol, versions and checksums; where protocols differ, the value under each letter."""
    facts = []
    results = record["results"]
    for key in dict.fromkeys(key for row in results for key in row["protocol"]):
        values = [_value_text(row["protocol"].get(key)) for row in results]
        texts = {}
        for letter in letters:
            own = (value for value, other in zip(values, letters, strict=True) if value and other == letter)
            texts[letter] = ", ".join(dict.fromkeys(own))
        text = texts[letters[0]]
        if len(set(texts.values())) > 1:
            text = "; ".join(f"{letter}: {value or '-'}" for letter, value in texts.items())
        if text:
            facts.append((_FACT_NAMES.get(key, key.replace("_", " ")), text))
    checksums = dict.fromkeys((f"SHA-256 of {row['name']}", row["sha256"]) for row in results if row.get("sha256"))
    code = {name: entry for row in results for name, entry in row.get("plugins", {}).items()}
    facts += [("own code of the checkpoints", plugins.describe(code))] if code else []
    return [*facts, ("program", _value_text(record["versions"])), *checksums]


def _value_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dict):
        return ", ".join(f"{name} {version}" for name, version in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)
