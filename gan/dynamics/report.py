"""Figures of training dynamics: one or two for each claim of the MSN paper, then the other sampled quantities.

They are made from the `dynamics.jsonl` of runs alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import NamedTuple

from gan.dynamics import samples
from gan.dynamics.claims import Claim, evaluate_claims
from gan.dynamics.samples import Quantity, SampledRun
from gan.report.charts import Line, line_chart
from gan.report.document import Figure
from gan.utils.counted import counted

_MAX_LAYERS = 5  # lines of a figure of layers


@dataclass(frozen=True)
class Findings:
    """The figures, notes and claims of training dynamics; empty if no run was sampled."""

    figures: tuple[Figure, ...] = ()
    notes: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()


class _Plot(NamedTuple):
    """A figure of one quantity over the steps."""

    claim: str
    """Name of the claim that it belongs to; empty for others."""
    title: str
    quantity: Quantity
    y_label: str
    log: bool = False
    factor: float = 1.0


_SMALL_TITLE = "Gradient entries of at most 0.001 of their layer's largest, %"
_DRIFT_TITLE = "Drift of pre-activation means in initial standard deviations"
_PLOTS = (
    _Plot("Claim 1", _SMALL_TITLE, samples.SMALL_SHARE, "small entries, %", factor=100.0),
    _Plot("Claim 2", "Variance of a gradient entry over mini-batches", samples.GRADIENT_VARIANCE, "variance", log=True),
    _Plot(
        "Claim 2", "Largest singular value of the gradient matrix", samples.GRADIENT_SIGMA, "singular value", log=True
    ),
    _Plot("Claim 3", _DRIFT_TITLE, samples.MEAN_DRIFT, "drift"),
    _Plot("Claim 4", _DRIFT_TITLE, samples.MEAN_DRIFT, "drift"),
    _Plot(
        "", "Distance of pre-activation means from 0 in current standard deviations", samples.OFFSET, "mean / deviation"
    ),
    _Plot("", "Mean of raw weights (as in the authors' plots)", samples.WEIGHT_MEAN, "mean weight"),
    _Plot("", "Largest singular value of the weight that layers use", samples.USED_SIGMA, "singular value", log=True),
    _Plot("", "Operator norm of convolutions as they are used", samples.OPERATOR_NORM, "operator norm", log=True),
    _Plot("", "Stable rank of raw weights", samples.STABLE_RANK, "stable rank"),
)


def dynamics_findings(folders: Sequence[Path], condition: str = "", arms: Mapping[Path, str] | None = None) -> Findings:
    """Draw the figures, each with a sentence on whether the runs support a claim of the paper.

    Args:
        folders: of runs of one network on the same images; runs that were not sampled are left out.
        condition: added to captions, as `lr 0.01`.
        arms: name of the arm of a comparison to which a folder belongs; the others are named after their norms.
    """
    runs = samples.comparable(samples.read_runs(folders, arms))
    if not runs:
        return Findings()
    suffix = f", {condition}" if condition else ""
    claims = evaluate_claims(runs)
    sentences = {claim.name: claim.sentence for claim in claims}
    figures, captioned = [], set()
    for plot in _PLOTS:
        figure = _draw(plot, runs, suffix)
        if figure and plot.claim:
            text = f"{plot.claim}, continued." if plot.claim in captioned else sentences[plot.claim]
            figure = replace(figure, caption=f"{text} Shown: {figure.caption}.")
            captioned.add(plot.claim)
        figures.append(figure)
    figures.append(_draw_spectrum(runs, suffix))
    answers = "; ".join(f"{claim.name} ({claim.statement}): {claim.answer}" for claim in claims)
    notes = [f"Training dynamics{f' at {condition}' if condition else ''}, by {counted(len(runs), 'run')}: {answers}."]
    notes += [sentence for name, sentence in sentences.items() if name not in captioned]
    return Findings(tuple(figure for figure in figures if figure), tuple(notes), tuple(claims))


def _draw(plot: _Plot, runs: Sequence[SampledRun], suffix: str) -> Figure | None:
    """A figure with a line for each arm; for claim 3, if there are runs under sn, a line for each of their layers."""
    own = samples.runs_under(runs, "sn")
    if plot.claim == "Claim 3" and own:
        title, lines = f"{plot.title}, under {own[0].label}, by layer", _lines_by_layer(own, plot)
    else:
        title, lines = f"{plot.title}, median over layers", _lines_by_arm(runs, plot)
    lines = [line for line in lines if len(line.x) > 1]
    if not lines:
        return None
    return line_chart(title + suffix, lines, "steps", y_label=plot.y_label, log=plot.log)


def _draw_spectrum(runs: Sequence[SampledRun], suffix: str) -> Figure | None:
    """The last sampled singular values of the network's middle layer, with a line for each arm."""
    lines, name = [], ""
    for arm, group in samples.runs_by_arm(runs).items():
        spectra = [entry["spectra"] for run in group for entry in run.entries if "spectra" in entry]
        if not spectra:  # a damaged log
            continue
        name = name or list(spectra[-1])[len(spectra[-1]) // 2]
        values = spectra[-1].get(name) or [None]
        if values[0] and None not in values and len(values) > 1:
            lines.append(Line(arm, range(1, len(values) + 1), [value / values[0] for value in values]))
    if not lines:
        return None
    title = f"Singular values of the raw weight of {name} at the end, as shares of the largest"
    return line_chart(title + suffix, lines, "number, largest first", y_label="share")


def _lines_by_arm(runs: Sequence[SampledRun], plot: _Plot) -> list[Line]:
    """A line for each arm: medians over its runs, at the steps that all of them sampled."""
    lines = []
    for arm, group in samples.runs_by_arm(runs).items():
        name = arm if len(group) == 1 else f"{arm} ({counted(len(group), 'run')})"
        lines.append(_median_line(name, [run.values(plot.quantity) for run in group], plot.factor))
    return lines


def _lines_by_layer(runs: Sequence[SampledRun], plot: _Plot) -> list[Line]:
    """A line for each of at most `_MAX_LAYERS` evenly spaced layers: medians over the runs."""
    names = list(runs[0].entries[0][plot.quantity.part])
    count = min(len(names), _MAX_LAYERS)
    chosen = [names[round(index * (len(names) - 1) / max(1, count - 1))] for index in range(count)]
    return [_median_line(name, [run.layer_values(plot.quantity, name) for run in runs], plot.factor) for name in chosen]


def _median_line(name: str, curves: Sequence[dict[int, float]], factor: float) -> Line:
    steps = sorted(set.intersection(*(set(curve) for curve in curves)))
    return Line(name, steps, [factor * median(curve[step] for curve in curves) for step in steps])
