"""From `dynamics.jsonl` of runs to figures: one for each claim of the MSN paper, and what else was sampled.

It reads files only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from gan.dynamics import claims
from gan.dynamics.claims import Claim
from gan.dynamics.samples import (
    GRADIENT_SIGMA,
    GRADIENT_VARIANCE,
    MEAN_DRIFT,
    SMALL_SHARE,
    Quantity,
    SampledRun,
    comparable,
    read_runs,
)
from gan.report.charts import Line, line_chart
from gan.report.document import Figure

_STEPS = "steps"
_MOST_LAYERS = 5  # lines of a figure that shows layers


@dataclass(frozen=True)
class Findings:
    """What a report shows of training dynamics: nothing, where no run was sampled."""

    pictures: tuple[Figure, ...] = ()
    notes: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()


def dynamics_findings(folders: Sequence[Path], which: str = "") -> Findings:
    """Figures, each with a sentence that says whether the runs support a claim of the paper.

    Args:
        folders: of runs of one network on the same images; those that were not sampled are left out.
        which: what captions add, as `lr 0.01`.
    """
    runs = comparable(read_runs(folders))
    if not runs:
        return Findings()
    judged = claims.judge(runs)
    pictures, told = [], set()
    for claim in judged:
        for title, lines, log, y_label in _figures(claim.name, runs):
            if picture := _picture(title, lines, which, log, y_label):
                said = f"{claim.name} too. " if claim.name in told else f"{claim.sentence} "
                pictures.append(replace(picture, caption=f"{said}Shown: {picture.caption}."))
                told.add(claim.name)
    for title, lines, log, y_label in _others(runs):
        pictures += [picture] if (picture := _picture(title, lines, which, log, y_label)) else []
    pictures += [picture] if (picture := _spectrum(runs, which)) else []
    answers = ", ".join(f"{claim.name} ({claim.statement}) {claim.answer}" for claim in judged)
    counted = "one run" if len(runs) == 1 else f"{len(runs)} runs"
    notes = [f"Training dynamics{f' at {which}' if which else ''}, by {counted}: {answers}."]
    notes += [claim.sentence for claim in judged if claim.name not in told]
    return Findings(tuple(pictures), tuple(notes), tuple(judged))


_Figure = tuple[str, list[Line], bool, str]  # title, lines, whether the axis is logarithmic, its label


def _figures(claim: str, runs: Sequence[SampledRun]) -> list[_Figure]:
    if claim == "C1":
        title = "Gradient entries of at most 0.001 of their layer's largest, %, median over layers"
        return [(title, _by_norm(runs, SMALL_SHARE, 100.0), False, "small entries, %")]
    if claim == "C2":
        return [
            (
                "Variance of a gradient entry over mini-batches, median over layers",
                _by_norm(runs, GRADIENT_VARIANCE),
                True,
                "variance",
            ),
            (
                "Largest singular value of the gradient matrix, median over layers",
                _by_norm(runs, GRADIENT_SIGMA),
                True,
                "singular value",
            ),
        ]
    label = "drift"
    if claim == "C3" and (own := [run for run in runs if run.norm == "sn"]):
        title = "Drift of pre-activation means under sn, by layer, in initial standard deviations"
        return [(title, _by_layer(own, MEAN_DRIFT), False, label)]
    title = "Drift of pre-activation means, median over layers, in initial standard deviations"
    return [(title, _by_norm(runs, MEAN_DRIFT), False, label)]


def _others(runs: Sequence[SampledRun]) -> list[_Figure]:
    """What belongs to no claim."""
    return [
        (
            "Distance of pre-activation means from 0 in present standard deviations, median over layers",
            _by_norm(runs, Quantity("activations", "offset")),
            False,
            "mean / deviation",
        ),
        (
            "Mean of raw weights (what the authors' code plots), median over layers",
            _by_norm(runs, Quantity("layers", "weight_mean")),
            False,
            "mean weight",
        ),
        (
            "Largest singular value of the weight that layers use, median over layers",
            _by_norm(runs, Quantity("layers", "used_sigma")),
            True,
            "singular value",
        ),
        (
            "Operator norm of convolutions as they are used, median over layers",
            _by_norm(runs, Quantity("layers", "operator_norm")),
            True,
            "operator norm",
        ),
        (
            "Stable rank of raw weights, median over layers",
            _by_norm(runs, Quantity("layers", "stable_rank")),
            False,
            "stable rank",
        ),
    ]


def _picture(title: str, lines: Sequence[Line], which: str, log: bool, y_label: str) -> Figure | None:
    shown = [line for line in lines if len(line.x) > 1]
    full = f"{title}, {which}" if which else title
    return line_chart(full, shown, _STEPS, y_label=y_label, log=log) if shown else None


def _spectrum(runs: Sequence[SampledRun], which: str) -> Figure | None:
    """All singular values of the layer in the middle of the network, as they were last kept: a line for each norm."""
    lines, name = [], ""
    for norm in dict.fromkeys(run.norm for run in runs):
        kept = [entry["spectra"] for run in runs for entry in run.entries if run.norm == norm and "spectra" in entry]
        if not kept:  # the log lost those lines
            continue
        name = name or list(kept[-1])[len(kept[-1]) // 2]
        values = kept[-1].get(name) or [None]
        if values[0] and None not in values:
            lines.append(Line(norm, range(1, len(values) + 1), [value / values[0] for value in values]))
    lines = [line for line in lines if len(line.x) > 1]
    if not lines:
        return None
    title = f"Singular values of the raw weight of {name} at the end, as shares of the largest"
    return line_chart(f"{title}, {which}" if which else title, lines, "number, largest first", y_label="share")


def _by_norm(runs: Sequence[SampledRun], quantity: Quantity, factor: float = 1.0) -> list[Line]:
    """A line for each norm: medians over its runs, at the steps that all of them have."""
    lines = []
    for norm in dict.fromkeys(run.norm for run in runs):
        own = [run.values(quantity) for run in runs if run.norm == norm]
        lines.append(_line(norm if len(own) == 1 else f"{norm} ({len(own)} runs)", own, factor))
    return lines


def _by_layer(runs: Sequence[SampledRun], quantity: Quantity) -> list[Line]:
    """A line for each of some layers, from the first to the last: medians over the runs."""
    names = list(runs[0].entries[0][quantity.part])
    count = min(len(names), _MOST_LAYERS)
    chosen = [names[round(index * (len(names) - 1) / max(1, count - 1))] for index in range(count)]

    def values(run: SampledRun, name: str) -> dict[int, float]:
        found = {entry["step"]: entry[quantity.part].get(name, {}).get(quantity.key) for entry in run.entries}
        return {step: value for step, value in found.items() if value is not None}

    return [_line(name, [values(run, name) for run in runs], 1.0) for name in chosen]


def _line(name: str, curves: Sequence[dict[int, float]], factor: float) -> Line:
    steps = sorted(set.intersection(*(set(curve) for curve in curves)))
    return Line(name, steps, [factor * median(curve[step] for curve in curves) for step in steps])
