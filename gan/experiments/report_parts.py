"""Tables, notes, facts and mean curves that the reports of `compare` and `classify` share."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gan.dynamics.report import dynamics_findings
from gan.experiments.summary import Result, select_results
from gan.report.charts import Line, mean_line
from gan.report.document import Figure, Table
from gan.utils.confidence import LEAST_RUNS, mean_text
from gan.utils.counted import counted

Record = Mapping[str, Any]

DIVERGED_NOTE = "Diverged trainings are counted, but excluded from the means"


def table_of(
    heading: str, columns: Mapping[str, Iterable[str]], notes: Iterable[str], best: Iterable[tuple[int, int]] = ()
) -> Table:
    """Build a table from its columns, by title."""
    return Table(heading, tuple(columns), tuple(zip(*columns.values(), strict=True)), frozenset(best), tuple(notes))


def number_cell(value: float | None, form: str, factor: float = 1.0) -> str:
    """Format a value, such as with `{:,.0f}`; None gives `-`."""
    return "-" if value is None else form.format(value * factor)


def row_name(row: Result) -> str:
    """Return the name of a row of a comparison: its arm, after its setting if there is one."""
    return f"{row['setting']}, {row['norm']}" if row["setting"] else row["norm"]


def stopped_note(record: Record) -> str | None:
    """Return how many trainings are done, or None if all are."""
    done = len(record["trainings"])
    return None if done == record["planned"] else f"{done} of {counted(record['planned'], 'training')} done."


def mean_cell(values: Sequence[float], *, digits: int = 2, factor: float = 1.0, missing: str = "-") -> str:
    """Format the mean of a value over seeds with its interval or range, as `mean_text`; `missing` without any."""
    return mean_text([value * factor for value in values], digits) if values else missing


def spread_notes(rows: Sequence[Sequence[float]]) -> list[str]:
    """Return the notes that explain ±, ranges, and means of a single seed, where a table has them.

    Args:
        rows: values over seeds of each row.
    """
    notes = []
    if any(len(values) >= LEAST_RUNS for values in rows):
        notes.append("± is the half-width of the 95 % confidence interval of the mean over seeds (Student's t).")
    if any(1 < len(values) < LEAST_RUNS for values in rows):
        notes.append(
            f"In brackets: the range (lowest to highest) of fewer than {LEAST_RUNS} seeds, which are too few for a "
            "confidence interval."
        )
    if any(len(values) == 1 for values in rows):
        notes.append("A value alone is from one seed: small differences mean nothing.")
    return notes


def dynamics_parts(
    record: Record, folder: Path, key: str, label: Callable[[Any], str]
) -> tuple[tuple[Figure, ...], tuple[str, ...]]:
    """Return the charts and notes on training dynamics, for each group of trainings; diverged ones are left out.

    Args:
        folder: folder of the experiment.
        key: key of the results by which they are grouped.
        label: names a group in captions.
    """
    findings = []
    for value in dict.fromkeys(result[key] for result in record["trainings"]):
        results = select_results(record["trainings"], **{key: value}, diverged=None)
        arms = {folder / result["folder"]: result["norm"] for result in results}
        findings.append(dynamics_findings(list(arms), label(value), arms))
    charts = tuple(chart for each in findings for chart in each.figures)
    return charts, tuple(note for each in findings for note in each.notes)


def image_set_text(data: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """Describe an image set: number, name, size and hash.

    Args:
        data: what config.json has of the set.
        config: configuration with `resolution` and `channels`.
    """
    size = f"{config['resolution']}x{config['resolution']}x{config['channels']}"
    return f"{data['images']:,} of {Path(data['name']).name}, {size} (SHA-256 {data['fingerprint']})"


def mean_lines(
    norms: Sequence[str],
    results: Sequence[Result],
    part: str,
    y: str,
    *,
    at: str,
    x: str = "",
    factor: float = 1.0,
    min_points: int = 2,
) -> list[Line]:
    """Return a line for each norm: the mean of its curves, with what `mean_line` adds.

    Args:
        part: key of the curves in a result, which have a list for each of `at`, `x` and `y`.
        y: key of the values, which are multiplied by `factor`; results without it, and points where one is None, are
            left out.
        at: key by which points are matched; only those that all curves have are used.
        x: key of the horizontal axis, whose mean is taken; `at` if empty.
        min_points: lines with fewer points are left out.
    """
    lines = []
    for series, norm in enumerate(norms):
        curves = [result[part] for result in select_results(results, norm=norm) if y in result[part]]
        tables = [dict(zip(curve[at], zip(curve[x or at], curve[y], strict=True), strict=True)) for curve in curves]
        points = []
        for place in tables[0] if tables else ():
            matched = [table[place] for table in tables if place in table]
            if len(matched) == len(tables) and all(value is not None for _, value in matched):
                mean_x = sum(position for position, _ in matched) / len(matched)
                points.append((rounded(mean_x), [factor * value for _, value in matched]))
        if len(points) >= min_points:
            lines.append(replace(mean_line(norm, points), series=series))
    return lines


def rounded(value: float) -> float:
    """Round to two decimals, and to an int where the value is whole."""
    return int(value) if float(value).is_integer() else round(value, 2)


def unique(rows: Iterable[Mapping[str, Any]], key: str) -> list[Any]:
    """Return the different values of a key, in order."""
    return list(dict.fromkeys(row[key] for row in rows))
