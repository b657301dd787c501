"""Markdown tables of the trainings kept by evidence.py: scores, paired tests, dynamics, and drift against FID."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from operator import itemgetter
from statistics import fmean, median
from typing import Any

import numpy as np

from gan.dynamics.callback import DYNAMICS_LOG
from gan.dynamics.samples import GRADIENT_SIGMA, GRADIENT_VARIANCE, MEAN_DRIFT, SMALL_SHARE, SampledRun
from gan.experiments.compare.summary import paired_tests
from gan.utils.confidence import mean_text
from gan.utils.markdown_table import markdown_table

_SCORES = (("first", "fid"), ("second", "fid"), ("first", "precision"), ("first", "recall"), ("first", "coverage"))
_RESAMPLES = 10_000  # of the interval of a correlation
_LEAST_PAIRS = 4  # of a correlation


def value_of(training: Mapping[str, Any], which: str, score: str) -> float | None:
    """A score of the last step by the first or the second extractor; None if the training diverged."""
    return None if training[which] is None else training[which].get(score)


def tables(kept: Mapping[str, Mapping[int, Mapping[str, Any]]], baseline: str | None = None) -> Iterator[str]:
    """Markdown tables: scores of each arm, tests of all pairs by both extractors, dynamics, and drift against FID.

    Args:
        baseline: test the other arms against this one alone, with a table of further differences.
    """
    rows = []
    for arm, trainings in kept.items():
        cells = [arm, len(trainings), sum(not training["training"]["final"] for training in trainings.values())]
        for which, score in _SCORES:
            values = [value for each in trainings.values() if (value := value_of(each, which, score)) is not None]
            digits = 2 if score == "fid" else 3
            cells.append(mean_text(values, digits) if values else "-")
        logged = [seconds for each in trainings.values() if (seconds := each["training"]["seconds"]) is not None]
        rows.append([*cells, f"{fmean(logged):.0f}" if logged else "-"])
    names = ["FID", "FID, second extractor", "precision", "recall", "coverage"]
    yield markdown_table(["arm", "seeds", "diverged", *names, "seconds"], rows, align_right=True)
    for which in ("first", "second"):
        yield pairs_table(kept, which, baseline)
    if baseline:
        yield further_differences(kept, baseline)
    yield dynamics_table(kept)
    yield from correlations(kept)


def pairs_table(kept: Mapping[str, Mapping[int, Mapping[str, Any]]], which: str, baseline: str | None) -> str:
    """The paired tests of `compare`, of the FID of an extractor: exact sign-flip tests with Holm's correction."""
    results = [
        {"norm": arm, "seed": seed, "setting": "", "curve": None, "final": training[which], "best": training[which]}
        for arm, trainings in kept.items()
        for seed, training in trainings.items()
    ]
    rows = []
    for test in sorted((test for test in paired_tests(results, baseline) if test["primary"]), key=itemgetter("p")):
        name = "{1} − {0}".format(*test["norms"])
        cells = [test["seeds"], mean_text(test["differences"]), f"{test['p']:.4f}", f"{test['p_holm']:.3f}"]
        rows.append([name, *cells])
    header = [f"FID by the {which} extractor", "seeds", "difference", "p", "p after Holm"]
    return markdown_table(header, rows, align_right=True)


def further_differences(kept: Mapping[str, Mapping[int, Mapping[str, Any]]], baseline: str) -> str:
    """Differences from the baseline that are not tested: FID earlier in training, precision, recall, coverage.

    Paired by seed; trainings that diverged are left out.
    """
    measured = {
        arm: {seed: further_values(each) for seed, each in trainings.items() if each["first"] is not None}
        for arm, trainings in kept.items()
    }
    names = list(dict.fromkeys(name for trainings in measured.values() for each in trainings.values() for name in each))
    rows = []
    for arm, trainings in measured.items():
        seeds = [seed for seed in trainings if seed in measured[baseline]]
        if arm == baseline or not seeds:
            continue
        cells = []
        for name in names:
            differences = [trainings[seed][name] - measured[baseline][seed][name] for seed in seeds]
            cells.append(mean_text(differences, 2 if name.startswith("FID") else 3))
        rows.append([f"{arm} − {baseline}", len(seeds), *cells])
    return markdown_table(["difference", "seeds", *names], rows, align_right=True)


def further_values(training: Mapping[str, Any]) -> dict[str, float]:
    """FID at the scored steps before the last, and the other scores of the last, by name."""
    curve = training["training"]["curve"]
    early = zip(curve["step"][:-1], curve["fid"][:-1], strict=True)
    scores = {score: training["first"][score] for _, score in _SCORES if score != "fid"}
    return {**{f"FID at step {step:,}": fid for step, fid in early}, **scores}


def dynamics_table(kept: Mapping[str, Mapping[int, Mapping[str, Any]]]) -> str:
    """Training dynamics of D in the last third of training: median over layers, steps and seeds, as in the claims."""
    quantities = {
        "small gradient entries, %": (SMALL_SHARE, 100.0),
        "variance of gradients": (GRADIENT_VARIANCE, 1.0),
        "largest singular value": (GRADIENT_SIGMA, 1.0),
        "drift": (MEAN_DRIFT, 1.0),
    }
    rows = []
    for arm, trainings in kept.items():
        runs = [SampledRun(arm, tuple(entries)) for each in trainings.values() if (entries := each.get(DYNAMICS_LOG))]
        cells = []
        for quantity, factor in quantities.values():
            values = [factor * value for run in runs if (value := run.late(quantity)) is not None]
            cells.append(f"{median(values):.3g}" if values else "-")
        rows.append([arm, len(runs), *cells])
    return markdown_table(["dynamics", "seeds", *quantities], rows, align_right=True)


def correlations(kept: Mapping[str, Mapping[int, Mapping[str, Any]]]) -> Iterator[str]:
    """Spearman's correlation of the drift of layer means and the final FID, over all trainings and within the arms."""
    arms = [list(drift_and_fid(trainings.values())) for trainings in kept.values()]
    pairs = np.array([pair for arm in arms for pair in arm])
    if len(pairs) < _LEAST_PAIRS:
        return
    yield correlation_text(f"Drift of layer means and FID over {len(pairs)} trainings", pairs)
    centred = np.concatenate([np.array(arm) - np.mean(arm, axis=0) for arm in arms if len(arm) > 1] or [pairs[:0]])
    if len(centred) >= _LEAST_PAIRS:
        yield correlation_text(f"The same minus the means of the arm, {len(centred)} trainings", centred)


def drift_and_fid(trainings: Iterable[Mapping[str, Any]]) -> Iterator[tuple[float, float]]:
    """Late drift and final FID of the trainings that have both."""
    for training in trainings:
        if entries := training.get(DYNAMICS_LOG):
            drift = SampledRun("", tuple(entries)).late(MEAN_DRIFT)
            fid = value_of(training, "first", "fid")
            if drift is not None and fid is not None:
                yield drift, fid


def correlation_text(subject: str, pairs: np.ndarray[Any, Any]) -> str:
    """Spearman's correlation of the two columns with the 95 % interval of the bootstrap over trainings."""
    rng = np.random.default_rng(0)
    resampled = [spearman(pairs[rng.integers(0, len(pairs), len(pairs))]) for _ in range(_RESAMPLES)]
    low, high = np.nanquantile(resampled, [0.025, 0.975])
    return f"{subject}: Spearman's correlation {spearman(pairs):.2f}, 95 % bootstrap interval {low:.2f} to {high:.2f}."


def spearman(pairs: np.ndarray[Any, Any]) -> float:
    """Spearman's rank correlation of the two columns; NaN if one of them is constant."""
    from scipy.stats import spearmanr

    if not np.ptp(pairs, axis=0).all():
        return float("nan")
    return float(spearmanr(pairs[:, 0], pairs[:, 1]).statistic)
