"""The part of a report with the scores of each class: a sentence on the worst class, a table and a chart of FID"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

from gan.metrics.score_table import SCORES, Score, fid_text
from gan.report.charts import dot_chart
from gan.report.document import Figure, Table, best_cells
from gan.utils.counted import counted

_MAX_CLASSES = 100  # rows of the table
_MAX_DOTS = 40  # rows of the chart

Row = Mapping[str, Any]


class ClassFindings(NamedTuple):
    """Parts of a report; all are empty if no result has scores of classes."""

    summary: tuple[str, ...] = ()
    """A sentence for each target that names its worst class."""
    tables: tuple[Table, ...] = ()
    charts: tuple[Figure, ...] = ()


def class_findings(results: Sequence[Row], *, mixed: bool = False) -> ClassFindings:
    """Build them from results in report.json. Of a run with several checkpoints, the last one is shown.

    Each named protocol has a table and a chart of its own.

    Args:
        mixed: the results have different protocols that have no names, so no best values are marked.
    """
    protocols = dict.fromkeys(row.get("named_protocol", "") for row in results)
    parts = [
        _findings(
            [row for row in results if row.get("named_protocol", "") == protocol],
            f", {protocol}" if len(protocols) > 1 else "",
            mixed=mixed,
        )
        for protocol in protocols
    ]
    return ClassFindings(*(tuple(chain.from_iterable(column)) for column in zip(*parts, strict=True)))


def _findings(results: Sequence[Row], suffix: str, *, mixed: bool) -> ClassFindings:
    """The parts for the results of one protocol; `suffix` names it in titles."""
    shown = list({row["target"]: row for row in results if row.get("classes")}.values())
    if not shown:
        return ClassFindings()
    scores = [
        score for score in SCORES if any(entry.get(score.key) is not None for row in shown for entry in row["classes"])
    ]
    summary = tuple(sentence for row in shown if (sentence := _worst_class(row, suffix, scores)))
    table = _table(f"Scores of each class{suffix}", shown, scores, [*_notes(results, shown)], mixed=mixed)
    charts = (_chart(shown, suffix),) if any(score.key == "fid" for score in scores) else ()
    return ClassFindings(summary, (table,), charts)


def _worst_class(row: Row, suffix: str, scores: Sequence[Score]) -> str:
    """The worst class by the first score, which is FID if there is one; empty if fewer than two classes have it."""
    for score in scores:
        scored = [entry for entry in row["classes"] if entry[score.key] is not None]
        if len(scored) < 2:
            continue
        worst = min(scored, key=lambda entry: score.better * entry[score.key])
        best = max(scored, key=lambda entry: score.better * entry[score.key])
        counts = f"{worst['real_count']:,} real and {counted(worst['generated_count'], 'scored image')}"
        return (
            f"Worst class of {row['name']}{suffix}: {worst['name']} ({score.title} {_text(score, worst)}, {counts}); "
            f"best: {best['name']} ({score.title} {_text(score, best)})."
        )
    return ""


def _table(title: str, shown: Sequence[Row], scores: Sequence[Score], notes: Sequence[str], *, mixed: bool) -> Table:
    """The table: a row for each class, a block of columns for each target."""
    numbers = _worst_first(shown, _MAX_CLASSES)
    equal = _equal_counts(shown)
    blocks = [f"{row['name']}: " if len(shown) > 1 else "" for row in shown]
    header = ["Class", "Real images", *(["Scored images"] if equal else [])]
    for block in blocks:
        header += [*([] if equal else [f"{block}images"]), *(f"{block}{score.header}" for score in scores)]
    rows, best = [], set()
    for position, number in enumerate(numbers):
        entries = [row["classes"][number] for row in shown]
        cells = [entries[0]["name"], f"{entries[0]['real_count']:,}"]
        cells += [f"{entries[0]['generated_count']:,}"] if equal else []
        columns: dict[str, list[int]] = {score.key: [] for score in scores}
        for entry in entries:
            cells += [] if equal else [f"{entry['generated_count']:,}"]
            for score in scores:
                columns[score.key].append(len(cells))
                cells.append(_text(score, entry))
        rows.append(tuple(cells))
        if equal and not mixed:
            for score in scores:
                values = [entry[score.key] and score.better * entry[score.key] for entry in entries]
                best |= {(position, columns[score.key][target]) for target, _ in best_cells({0: values})}
    return Table(title, tuple(header), tuple(rows), frozenset(best), tuple(notes))


def _text(score: Score, entry: Row) -> str:
    value = entry[score.key]
    if value is None:
        return "-"
    return fid_text(value) if score.key == "fid" else f"{value:.{score.digits}f}"


def _notes(results: Sequence[Row], shown: Sequence[Row]) -> Iterator[str]:
    warnings = dict.fromkeys(line for row in shown for line in row["class_warnings"])
    for warning in warnings:
        names = [row["name"] for row in shown if warning in row["class_warnings"]]
        yield warning if len(names) == len(shown) else f"{', '.join(names)}: {warning}"
    if not _equal_counts(shown):
        yield "The targets have different numbers of images of a class: FID of a class compares at equal numbers only."
    if any(len({entry["generated_count"] for entry in row["classes"]}) > 1 for row in shown):
        yield "The classes have different numbers of images, and FID falls with the number: compare classes with care."
    if len(shown) < sum(bool(row.get("classes")) for row in results):
        yield "Of a run, the last checkpoint is shown; report.json has all."
    count = len(shown[0]["classes"])
    if count > _MAX_CLASSES:
        yield f"The {_MAX_CLASSES} worst of {count:,} classes of {shown[0]['name']}; report.json has all."


def _equal_counts(shown: Sequence[Row]) -> bool:
    """True if all targets have the same number of images of each class."""
    counts = [[entry["generated_count"] for entry in row["classes"]] for row in shown]
    return all(other == counts[0] for other in counts)


def _worst_first(shown: Sequence[Row], limit: int) -> list[int]:
    """Numbers of all classes in order or, if there are more than `limit`, of the worst of the first target."""
    classes = shown[0]["classes"]
    if len(classes) <= limit:
        return list(range(len(classes)))

    def badness(number: int) -> float:
        entry = classes[number]
        if entry["fid"] is not None:
            return float(entry["fid"])
        return -1.0 if entry["precision"] is None else 1 - float(entry["precision"])

    return sorted(range(len(classes)), key=badness, reverse=True)[:limit]


def _chart(shown: Sequence[Row], suffix: str) -> Figure:
    """FID of each class as dots, a series for each target."""
    numbers = _worst_first(shown, _MAX_DOTS)
    names = [shown[0]["classes"][number]["name"] for number in numbers]
    series = {row["name"]: [row["classes"][number]["fid"] for number in numbers] for row in shown}
    count = len(shown[0]["classes"])
    part = f", the {_MAX_DOTS} worst of {count:,}" if count > _MAX_DOTS else ""
    return dot_chart(f"FID of each class{suffix}{part}", names, series, "FID", SCORES[0].direction)
