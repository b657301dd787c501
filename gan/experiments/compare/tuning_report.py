"""Random search in the report of a comparison: sentences, tables and the chart of best-of-k curves."""

from collections.abc import Mapping, Sequence
from typing import Any

from gan.config.base import flag_name
from gan.experiments import report_parts as parts
from gan.experiments.compare.rate_settings import RANGES_TEXT, RATES
from gan.experiments.compare.tuning import setting_text
from gan.metrics.score_table import SCORES
from gan.report.charts import Line, line_chart
from gan.report.document import Figure, Table, best_cells
from gan.utils.counted import counted

_FID = SCORES[0]
_UNBOUNDED = 1e9  # FID that stands for an upper end that so few settings do not bound; charts cut it off

Tuning = Mapping[str, Any]
"""The entry `tuning` of report.json, made by `tuning.tuning_record`."""


def _fid(value: float) -> str:
    return f"{value:.{_FID.digits}f}"


def tuning_sentences(tuning: Tuning, then: int) -> list[str]:
    """Return the sentences that say which setting was best for each arm, and what follows from it.

    Args:
        then: seeds with which the best settings are trained.
    """
    count = len(tuning["settings"])
    best = [
        f"{arm} {_fid(entry['fids'][entry['best']])} ({entry['best']})"
        for arm, entry in tuning["arms"].items()
        if entry["best"]
    ]
    lines = [
        f"Random search: lowest final FID of {counted(count, 'setting')}, with one seed each: "
        f"{', '.join(best) or 'none'}. Lowest values are optimistic, and differences between them are not tested."
    ]
    if diverged := [arm for arm, entry in tuning["arms"].items() if not entry["best"]]:
        lines.append(f"Diverged under every setting: {', '.join(diverged)}.")
    if not then:
        lines.append("--then SEEDS trains the best setting of each arm with other seeds, and tests the differences.")
    return [" ".join(lines)]


def tuning_facts(tuning: Tuning) -> list[tuple[str, str]]:
    """Return the ranges of the settings, and the best one of each arm."""
    facts = [("random settings", f"{RANGES_TEXT}; a function of the setting's number, the same for all arms")]
    for arm, entry in tuning["arms"].items():
        if entry["best"]:
            facts.append((f"best setting of {arm}", f"{entry['best']}: {setting_text(entry['best'])}"))
    return facts


def tuning_tables(tuning: Tuning) -> list[Table]:
    """Return the table of best-of-k and that of the final FID of each arm under each setting."""
    return [_best_of_k_table(tuning), _setting_table(tuning)]


def _best_of_k_table(tuning: Tuning) -> Table:
    count = len(tuning["settings"])
    numbers = [2**power for power in range(count.bit_length()) if 2**power < count] + [count]
    columns = {"Arm": list(tuning["arms"]), "Best setting": [entry["best"] or "-" for entry in tuning["arms"].values()]}
    for k in numbers:
        curves = (entry["curve"] for entry in tuning["arms"].values())
        columns[f"k = {k}"] = [_interval_text(curve[k - 1]) if k <= len(curve) else "-" for curve in curves]
    notes = (
        "Final FID of the best of k random settings: the median over searches of k settings, estimated from all "
        "settings, with its 95 % confidence interval (order statistics). An arm that needs fewer settings for the same "
        "FID is easier to tune.",
        "A missing end of an interval is not bounded by so few settings. Diverged trainings count as worse than all "
        "others; -: at least half of the searches have diverged trainings only, or the settings are not all trained.",
    )
    return parts.table_of("Best of k random settings", columns, notes)


def _interval_text(point: Mapping[str, Any]) -> str:
    if point["median"] is None:
        return "-"
    low, high = ("" if point[end] is None else _fid(point[end]) for end in ("low", "high"))
    interval = f"{low} to {high}" if low and high else f"at least {low}" if low else f"at most {high}" if high else ""
    return f"{_fid(point['median'])}{f' ({interval})' if interval else ''}"


def _setting_table(tuning: Tuning) -> Table:
    settings = tuning["settings"]
    columns = {"Random setting": list(settings)}  # no arm has a name with a space
    for key in RATES:
        columns[flag_name(key)] = [f"{rates[key]:g}" for rates in settings.values()]
    values: dict[int, Sequence[float | None]] = {}
    for arm, entry in tuning["arms"].items():
        fids = entry["fids"]
        values[len(columns)] = [None if fids.get(name) is None else -fids[name] for name in settings]
        columns[arm] = [_fid_text(fids, name) for name in settings]
    notes = (
        "All arms have the same settings, with seed 0. Highlighted: the lowest FID of each arm.",
        f"Drawn at random: {RANGES_TEXT}.",
    )
    return parts.table_of("Final FID under each random setting", columns, notes, best_cells(values))


def _fid_text(fids: Mapping[str, float | None], setting: str) -> str:
    if setting not in fids:
        return "-"
    fid = fids[setting]
    return "diverged" if fid is None else _fid(fid)


def tuning_chart(tuning: Tuning) -> list[Figure]:
    """Draw the best-of-k curve of each arm; nothing if no curve has two points."""
    lines = []
    for series, (arm, entry) in enumerate(tuning["arms"].items()):
        points = [point for point in entry["curve"] if point["median"] is not None]
        if len(points) > 1:
            low = [point["low"] or 0.0 for point in points]
            high = [_UNBOUNDED if point["high"] is None else point["high"] for point in points]
            medians = [point["median"] for point in points]
            lines.append(Line(arm, [point["k"] for point in points], medians, (low, high), series=series))
    title = "Final FID of the best of k random settings"
    return [line_chart(title, lines, "k", f"{_FID.direction}; bands are 95 % intervals")] if lines else []
