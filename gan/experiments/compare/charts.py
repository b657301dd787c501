"""The charts and grids of a comparison, from its report.json."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gan.experiments.compare.results import SCORES, Score
from gan.report.charts import SERIES, Line, line_chart, mean_line
from gan.report.document import Figure

TrainingResult = Mapping[str, Any]

_AXES = (("images", "real images seen"), ("seconds", "seconds of training"))
_LOGGED = (
    ("grad_norm_d", "Gradient norm of D"),
    ("grad_norm_g", "Gradient norm of G"),
    ("sigma", "σ of D's layers, mean"),
)


def comparison_charts(record: Mapping[str, Any]) -> list[Figure]:
    """Each score against images seen and against seconds, for each setting; then what the runs logged besides.

    With the grid of settings there are charts of FID alone: report.json has the others.
    """
    pictures = []
    for setting in dict.fromkeys(row["setting"] for row in record["rows"]):
        own = [result for result in record["trainings"] if result["setting"] == setting]
        for score in SCORES[:1] if setting else SCORES:
            for axis, label in _AXES:
                title = f"{score.title}{f', setting {setting}' if setting else ''}"
                better = "less is better" if score.better < 0 else "more is better"
                lines = _score_lines(record, own, score, axis)
                pictures += [line_chart(f"{title} by {axis}", lines, label, better, score.title)] if lines else []
        if not setting:
            pictures += _logged_charts(record, own)
    return pictures


def _norms(record: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(row["norm"] for row in record["rows"]))


def _score_lines(record: Mapping[str, Any], own: Sequence[TrainingResult], score: Score, axis: str) -> list[Line]:
    """For each norm the mean over the seeds that did not diverge; those that did are lines of their own."""
    lines = []
    for number, norm in enumerate(_norms(record)):
        curves = [result["curve"] for result in own if result["norm"] == norm and result["final"]]
        if line := _mean(norm, curves, "step", axis, lambda value: value * score.factor, score.key):
            lines.append(replace(line, series=number))
    for result in own:
        if result["diverged"] and result["curve"]:
            curve = result["curve"]
            name = f"{result['norm']}, seed {result['seed']}: diverged"
            values = [value * score.factor for value in curve[score.key]]
            number = len(SERIES) + _norms(record).index(result["norm"])  # its norm's colour, dashed
            lines.append(Line(name, _rounded(curve[axis]), values, series=number))
    return lines


def _mean(
    name: str, curves: Sequence[Mapping[str, Any]], key: str, axis: str, scaled: Callable[[float], float], value: str
) -> Line | None:
    """The mean of several curves at those places that all of them have, and its interval.

    Args:
        key: what tells places apart; `axis` there may differ from curve to curve, and its mean is taken.
    """
    if not curves:
        return None
    places = [dict(zip(curve[key], zip(curve[axis], curve[value], strict=True), strict=True)) for curve in curves]
    shared = [place for place in places[0] if all(place in other for other in places)]
    points = []
    for place in shared:
        x = sum(curve[place][0] for curve in places) / len(places)
        points.append((_rounded([x])[0], [scaled(curve[place][1]) for curve in places]))
    return mean_line(name, points) if points else None


def _rounded(values: Sequence[float]) -> list[float]:
    return [int(value) if float(value).is_integer() else round(value, 2) for value in values]


def _logged_charts(record: Mapping[str, Any], own: Sequence[TrainingResult]) -> list[Figure]:
    """What every run logs: means over the seeds that did not diverge."""
    pictures = []
    for key, title in _LOGGED:
        lines = []
        for number, norm in enumerate(_norms(record)):
            curves = [
                {"images": result["logged"]["images"], key: result["logged"][key]}
                for result in own
                if result["norm"] == norm and result["final"] and key in result["logged"]
            ]
            line = _mean(norm, curves, "images", "images", float, key)
            lines += [replace(line, series=number)] if line and len(line.x) > 1 else []
        pictures += [line_chart(title, lines, "real images seen")] if lines else []
    return pictures


def sample_grids(record: Mapping[str, Any], folder: Path) -> list[tuple[str, tuple[Figure, ...]]]:
    """Sample grids in groups, a setting and a seed each, in which all norms have the same latents."""
    groups = []
    places = dict.fromkeys((result["setting"], result["seed"]) for result in record["trainings"])
    for setting, seed in places:
        pictures = []
        for result in record["trainings"]:
            if (result["setting"], result["seed"]) == (setting, seed) and result["grid"]:
                path = folder / result["grid"]["path"]
                if path.exists():
                    pictures.append(Figure(_alt(result), _caption(result), path))
        if pictures:
            which = f"setting {setting}, seed {seed}" if setting else f"seed {seed}"
            groups.append((f"Images of {which}, from the same latents", tuple(pictures)))
    return groups


def _alt(result: TrainingResult) -> str:
    where = f"setting {result['setting']}, " if result["setting"] else ""
    return f"Grid of 64 images by {where}{result['norm']}, seed {result['seed']}, at step {result['grid']['step']:,}"


def _caption(result: TrainingResult) -> str:
    if result["diverged"]:
        return f"{result['norm']}: diverged after step {result['diverged']['step']:,}; this is {_step(result)}"
    final = result["final"]
    fid = f", FID {final['fid']:.2f}" if final else ""
    return f"{result['norm']}: {_step(result)}{fid}"


def _step(result: TrainingResult) -> str:
    return f"step {result['grid']['step']:,}"
