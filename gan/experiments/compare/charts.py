"""Charts and sample grids of a comparison, from its report.json."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gan.experiments.compare.conclusion import reference_arm
from gan.experiments.compare.paired_test import differences_from
from gan.experiments.report_parts import mean_lines, rounded, unique
from gan.experiments.summary import Result, select_results
from gan.metrics.score_table import SCORES, Score, measured_scores
from gan.report.charts import SERIES, Line, forest_plot, line_chart
from gan.report.document import Figure

_AXES = (("images", "real images seen"), ("seconds", "seconds of training"))
_LOGGED = (
    ("loss_d", "Loss of D"),
    ("loss_g", "Loss of G"),
    ("d_accuracy", "Accuracy of D"),
    ("grad_norm_d", "Gradient norm of D"),
    ("grad_norm_g", "Gradient norm of G"),
    ("sigma", "σ of D's layers, mean"),
)


def comparison_charts(record: Mapping[str, Any]) -> list[Figure]:
    """Draw each score over training, for each setting; then what the runs logged besides.

    Scores are drawn against images seen and against seconds.

    With the learning-rate grid only FID is drawn; report.json has the other scores.
    """
    charts = []
    norms = unique(record["rows"], "norm")
    for setting in unique(record["rows"], "setting"):
        results = select_results(record["trainings"], setting=setting)
        for score in SCORES[:1] if setting else measured_scores(results):
            title = f"{score.title}{f', setting {setting}' if setting else ''}"
            for axis, label in _AXES:
                if lines := _score_lines(norms, results, score, axis):
                    charts.append(line_chart(f"{title} by {axis}", lines, label, score.direction, score.title))
        if not setting:
            complete = [result for result in results if result["final"]]
            for key, title in _LOGGED:
                if lines := mean_lines(norms, complete, "logged", key, at="images"):
                    charts.append(line_chart(title, lines, "real images seen"))
    return charts


def difference_charts(record: Mapping[str, Any]) -> list[Figure]:
    """Draw a forest plot for each setting: final FID of each arm minus that of the reference arm, paired by seed."""
    return [chart for setting in unique(record["rows"], "setting") for chart in _difference_chart(record, setting)]


def _difference_chart(record: Mapping[str, Any], setting: str) -> list[Figure]:
    """Return the forest plot of a setting; nothing without a test."""
    reference = reference_arm(select_results(record["rows"], setting=setting), record["config"].get("baseline"))
    tests = select_results(record["paired"], setting=setting, primary=True)
    rows = {test["norms"][1]: test["differences"] for test in differences_from(tests, reference or "")}
    if not rows:
        return []
    title = f"{SCORES[0].title} minus that of {reference}{f', setting {setting}' if setting else ''}"
    return [forest_plot(title, rows, "difference of final FID, paired by seed")]


def _score_lines(norms: Sequence[str], results: Sequence[Result], score: Score, axis: str) -> list[Line]:
    """Return the mean of each norm over the seeds that did not diverge, and a line for each diverged training."""
    complete = [result for result in results if result["final"]]
    lines = mean_lines(norms, complete, "curve", score.key, at="step", x=axis, factor=score.factor, min_points=1)
    for result in results:
        if result["diverged"] and result["curve"]:
            curve = result["curve"]
            name = f"{result['norm']}, seed {result['seed']}: diverged"
            values = [value * score.factor for value in curve[score.key]]
            series = len(SERIES) + norms.index(result["norm"])  # the colour of its norm, dashed
            lines.append(Line(name, [rounded(x) for x in curve[axis]], values, series=series))
    return lines


def sample_grids(record: Mapping[str, Any], folder: Path) -> list[tuple[str, tuple[Figure, ...]]]:
    """Return the sample grids as (heading, grids) of each setting and seed; all norms in one have the same latents."""
    groups = []
    for setting, seed in dict.fromkeys((result["setting"], result["seed"]) for result in record["trainings"]):
        grids = []
        for result in select_results(record["trainings"], setting=setting, seed=seed):
            if result["grid"] and (path := folder / result["grid"]["path"]).exists():
                grids.append(Figure(_grid_alt(result), _grid_caption(result), path))
        if grids:
            group = f"setting {setting}, seed {seed}" if setting else f"seed {seed}"
            groups.append((f"Images of {group}, from the same latents", tuple(grids)))
    return groups


def _grid_alt(result: Result) -> str:
    setting = f"setting {result['setting']}, " if result["setting"] else ""
    return f"Grid of 64 images by {setting}{result['norm']}, seed {result['seed']}, at step {result['grid']['step']:,}"


def _grid_caption(result: Result) -> str:
    step = f"step {result['grid']['step']:,}"
    if result["diverged"]:
        return f"{result['norm']}: diverged after step {result['diverged']['step']:,}; this is {step}"
    fid = f", FID {result['final']['fid']:.2f}" if result["final"] else ""
    return f"{result['norm']}: {step}{fid}"
