"""From report.json and the logs of runs to report.md, report.html and charts.

It reads files only, so a report can be made again from its folder: `render(folder)`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gan.dynamics import report
from gan.metrics.protocol import Protocol, protocol_differences
from gan.report import write
from gan.report.charts import Line, line_chart
from gan.report.document import Figure, Report, Table
from gan.runs import log

_MOST_GRIDS = 6  # of one run

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """A score as tables show it. `better` is -1 where less is better, 1 where more is."""

    key: str
    title: str
    text: Callable[[Row], str]
    better: int
    spread: str | None = None
    """Key of its standard deviation."""


COLUMNS = (
    Column("fid", "FID", lambda row: _fid(row["fid"]), -1),
    Column(
        "inception_score",
        "Inception score",
        lambda row: f"{row['inception_score']:.2f} ± {row['inception_score_std']:.2f}",
        1,
        "inception_score_std",
    ),
    Column("kid", "KID × 10³", lambda row: _kid(row), -1, "kid_std"),
    Column("precision", "Precision", lambda row: f"{row['precision']:.3f}", 1),
    Column("recall", "Recall", lambda row: f"{row['recall']:.3f}", 1),
)


def write_evaluation_report(folder: Path) -> Report:
    """Write report.md and report.html beside the report.json of a folder, and charts as files of their own.

    Raises:
        OSError: a file cannot be read or written.
    """
    view = evaluation_report(json.loads((folder / "report.json").read_text(encoding="utf-8")), folder)
    write.write_report(view, folder, "report")
    return view


def evaluation_report(record: Mapping[str, Any], folder: Path) -> Report:
    """What the pages of a report show. Grids are looked for in `folder`, logs where they were."""
    results: list[Row] = record["results"]
    columns = [column for column in COLUMNS if column.key in results[0]]
    letters = _letters(results)
    mixed = len(set(letters)) > 1
    dynamics = report.dynamics_findings(
        list(dict.fromkeys(Path(row["log"]).parent for row in results if row.get("log")))
    )
    header = ["Target", *(f"{column.title} {'↑' if column.better > 0 else '↓'}" for column in columns), "Images"]
    rows = []
    for row, letter in zip(results, letters, strict=True):
        count = f"{row['protocol']['generated_count']:,}"
        rows.append((row["name"], *(column.text(row) for column in columns), count, *([letter] if mixed else [])))
    scores = Table(
        "Scores",
        (*header, "Protocol") if mixed else tuple(header),
        tuple(rows),
        frozenset() if mixed or len(rows) == 1 else _best(results, columns),
        (*_notes(record, columns, mixed), *dynamics.notes),
    )
    return Report(
        title=_title(results),
        first=scores,
        stopped=_stopped(record),
        grids=tuple(_grids(record, folder)),
        charts=(*_trajectories(results, columns), *_training(results), *dynamics.pictures),
        protocols=tuple(_protocols(record, letters)),
        command=record["command"],
        made=record["made"],
    )


def _fid(value: float) -> str:
    return f"{value:,.2f}" if value >= 1 else f"{abs(value):.4f}"


def _kid(row: Row) -> str:
    alone = row["protocol"]["kid_subsets"] == 1
    return f"{1e3 * row['kid']:.2f}" + ("" if alone else f" ± {1e3 * row['kid_std']:.2f}")


def _title(results: Sequence[Row]) -> str:
    extractor = results[0]["protocol"]["extractor"]
    reference = results[0]["protocol"]["reference"]
    against = f" against {Path(reference).name}" if reference else ""
    return f"Image quality{against} ({extractor} features)"


def _best(results: Sequence[Row], columns: Sequence[Column]) -> frozenset[tuple[int, int]]:
    found = []
    for number, column in enumerate(columns, 1):
        values = [column.better * row[column.key] for row in results]
        if min(values) < max(values):
            found += [(row, number) for row, value in enumerate(values) if value == max(values)]
    return frozenset(found)


def _letters(results: Sequence[Row]) -> list[str]:
    """A letter for the protocol of each row: alike, the same letter."""
    kinds: list[Protocol] = []
    letters = []
    for row in results:
        protocol = Protocol.from_json(row["protocol"])
        number = next(
            (index for index, kind in enumerate(kinds) if not protocol_differences(kind, protocol)), len(kinds)
        )
        if number == len(kinds):
            kinds.append(protocol)
        letters.append(chr(ord("A") + number))
    return letters


def _stopped(record: Mapping[str, Any]) -> str | None:
    if not record["stopped"]:
        return None
    return f"Stopped after {len(record['results'])} of {record['planned']}: {record['stopped']}"


def _notes(record: Mapping[str, Any], columns: Sequence[Column], mixed: bool) -> list[str]:
    results = record["results"]
    notes = []
    if mixed:
        notes.append("The rows were not all measured alike: compare those of one protocol only.")
    if columns:
        notes.append("↓ less is better, ↑ more is better.")
    for warning in dict.fromkeys(line for row in results for line in row["warnings"]):
        names = [row["name"] for row in results if warning in row["warnings"]]
        notes.append(warning if len(names) == len(results) else f"{', '.join(names)}: {warning}")
    notes += [f"Passed over: {line}" for line in record.get("passed_over", [])]
    reference = record["reference"]
    if reference and reference["conversions"]:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in reference["conversions"].items())
        notes.append(f"Of the {reference['images']:,} real images: {kinds}.")
    return notes


def _grids(record: Mapping[str, Any], folder: Path) -> list[Figure]:
    pictures = []
    if record["real_grid"]:
        name = Path(record["results"][0]["protocol"]["reference"]).name
        pictures.append(Figure(f"Real images of {name}, in a grid", f"Real: {name}", folder / record["real_grid"]))
    for target in dict.fromkeys(row["target"] for row in record["results"]):
        rows = [row for row in record["results"] if row["target"] == target]
        step = (len(rows) - 1) / max(1, min(len(rows), _MOST_GRIDS) - 1)
        for row in [rows[round(index * step)] for index in range(min(len(rows), _MOST_GRIDS))]:
            scores = ", ".join(f"{column.title} {column.text(row)}" for column in COLUMNS[:1] if column.key in row)
            caption = f"{row['name']}{': ' * bool(scores)}{scores}"
            which = "The first images" if row["kind"] == "checkpoint" else "Images"
            pictures.append(Figure(f"{which} of {row['name']}, in a grid", caption, folder / row["grid"]))
    return [picture for picture in pictures if picture.path and picture.path.exists()]


def _trajectories(results: Sequence[Row], columns: Sequence[Column]) -> list[Figure]:
    """A chart of every score, with a line for each run of several snapshots."""
    runs = [
        [row for row in results if row["target"] == target] for target in dict.fromkeys(r["target"] for r in results)
    ]
    runs = [sorted(rows, key=lambda row: row["step"]) for rows in runs if len(rows) > 1]
    if not runs:
        return []
    names = _short_names([rows[0]["target"] for rows in runs])
    # Runs that see unlike numbers of images in a step are held against each other by images.
    rates = {row["images_seen"] / row["step"] for rows in runs for row in rows if row["step"]}
    key, x_label = ("step", "generator steps") if len(rates) == 1 else ("images_seen", "real images seen")
    pictures = []
    for column in columns:
        factor = 1e3 if column.key == "kid" else 1.0
        lines = []
        for name, rows in zip(names, runs, strict=True):
            spread = [factor * row[column.spread] for row in rows] if column.spread else None
            values = [factor * row[column.key] for row in rows]
            lines.append(Line(name, [row[key] for row in rows], values, spread))
        pictures.append(
            line_chart(column.title, lines, x_label, "less is better" if column.better < 0 else "more is better")
        )
    return pictures


def _training(results: Sequence[Row]) -> list[Figure]:
    """Charts of what the runs logged: losses, and scores taken while they trained."""
    pictures: list[Figure] = []
    scored: list[tuple[str, Row]] = []
    logs = [Path(path) for path in dict.fromkeys(row["log"] for row in results if row.get("log"))]
    for path, name in zip(logs, _short_names([str(path.parent) for path in logs]), strict=True):
        entries = log.read_log(path)
        losses = [entry for entry in entries if entry.get("loss_d") is not None and entry.get("loss_g") is not None]
        if len(losses) > 1:
            steps = [entry["step"] for entry in losses]
            lines = [
                Line(label, steps, [entry[key] for entry in losses])
                for label, key in (("discriminator", "loss_d"), ("generator", "loss_g"))
            ]
            pictures.append(line_chart(f"Losses of {name}", lines, "generator steps", "", y_label="loss"))
        scored += [(name, entry) for entry in entries if "scores" in entry]
    return [*pictures, *_logged_scores(scored)]


def _logged_scores(scored: Sequence[tuple[str, Row]]) -> list[Figure]:
    """A chart of the FID that was logged, with a line for each run; one for each protocol."""
    letters = _letters([entry for _, entry in scored])
    pictures = []
    for letter in dict.fromkeys(letters):
        alike = [pair for pair, its in zip(scored, letters, strict=True) if its == letter]
        lines = []
        for name in dict.fromkeys(name for name, _ in alike):
            entries = [entry for of, entry in alike if of == name]
            if len(entries) > 1:
                lines.append(Line(name, [e["step"] for e in entries], [e["scores"]["fid"] for e in entries]))
        if lines:
            protocol = alike[0][1]["protocol"]
            what = f", {protocol['generated_count']:,} images, {protocol['extractor']} features"
            title = f"FID logged in training{what if len(set(letters)) > 1 else ''}"
            pictures.append(line_chart(title, lines, "generator steps", "less is better"))
    return pictures


def _short_names(paths: Sequence[str]) -> list[str]:
    """The last part of each path; the whole of those that share it."""
    last = [Path(path).name for path in paths]
    return [path if last.count(name) > 1 else name for path, name in zip(paths, last, strict=True)]


def _protocols(record: Mapping[str, Any], letters: Sequence[str]) -> list[tuple[str, str]]:
    """Every field of the protocol and its value; where rows differ, the value of each protocol or row."""
    lines = []
    kinds = dict.fromkeys(letters)
    for key in dict.fromkeys(key for row in record["results"] for key in row["protocol"]):
        values: dict[str, list[str]] = {letter: [] for letter in kinds}
        for row, letter in zip(record["results"], letters, strict=True):
            text = _value(row["protocol"].get(key))
            if text and text not in values[letter]:
                values[letter].append(text)
        texts = {letter: ", ".join(value) for letter, value in values.items()}
        if len(set(texts.values())) == 1:
            text = next(iter(texts.values()))
        else:
            text = "; ".join(f"{letter}: {value or '-'}" for letter, value in texts.items())
        if text:
            lines.append((key.replace("_", " "), text))
    program = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    files = [(f"SHA-256 of {row['name']}", row["sha256"]) for row in record["results"] if row.get("sha256")]
    return [*lines, ("program", program), *files]


def _value(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dict):
        return ", ".join(f"{name} {version}" for name, version in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)
