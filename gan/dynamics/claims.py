"""Compare runs with what the MSN paper claims about training dynamics.

The value of a run is the median over its layers in each sample, then the median over the samples of the last third of
training, then, for several runs of one norm, the median over those. Two values differ if one is at least `FACTOR` times
the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import Any, NamedTuple

from gan.dynamics.samples import (
    GRADIENT_SIGMA,
    GRADIENT_VARIANCE,
    MEAN_DRIFT,
    SMALL_SHARE,
    ZERO_SHARE,
    Quantity,
    SampledRun,
    comparable,
)

FACTOR = 1.5
DRIFT = 0.5  # initial standard deviations; from here on a mean has drifted
SUPPORTED, PARTLY, AGAINST = "supported", "partly supported", "not supported"
UNKNOWN, INCONCLUSIVE = "not enough runs to say", "inconclusive"


class Claim(NamedTuple):
    """A claim of the paper, whether the runs support it, and the numbers and the rule behind the answer."""

    name: str
    statement: str
    answer: str
    reason: str

    @property
    def sentence(self) -> str:
        """The whole claim as text."""
        return f"{self.name}, {self.statement}: {self.answer}. {self.reason}"


class _Undecided(Exception):
    """Answer and reason where a rule cannot be applied."""


def evaluate_claims(runs: Sequence[SampledRun]) -> list[Claim]:
    """Evaluate all claims, in order.

    Args:
        runs: of one network on the same images, under one or several norms.
    """
    runs = comparable(runs)
    difference = _difference(runs)
    claims = []
    for name, (statement, rule) in _CLAIMS.items():
        try:
            answer, reason = (INCONCLUSIVE, difference) if difference else rule(runs)
        except _Undecided as undecided:
            answer, reason = undecided.args
        claims.append(Claim(name, statement, answer, reason))
    return claims


def _difference(runs: Sequence[SampledRun]) -> str:
    """A sentence about why the runs cannot be compared; empty if they can."""
    if len({(run.entries[0].get("kind"), tuple(run.entries[0]["layers"])) for run in runs}) > 1:
        return "The runs are of different networks."
    sizes = [run.sizes for run in runs if run.sizes]
    for name in sizes[0] if sizes else ():
        if len(counts := {size[name] for size in sizes}) > 1:
            return f"The runs are of different networks: {name} has {_listed(counts)} singular values."
    if len(batches := {run.entries[0].get("part") for run in runs}) > 1:
        return f"The runs were sampled on mini-batches of different sizes ({_listed(batches)} images)."
    return ""


def _listed(values: Iterable[Any]) -> str:
    return " and ".join(sorted(map(str, values)))


def _late_value(runs: Sequence[SampledRun], norm: str, quantity: Quantity) -> float:
    """The value of a quantity under a norm.

    Raises:
        _Undecided: the norm has no run, or no finite sample in the last third of training.
    """
    own = [run for run in runs if run.norm == norm]
    if not own:
        norms = ", ".join(dict.fromkeys(run.norm for run in runs))
        raise _Undecided(UNKNOWN, f"This needs a run under {norm} too; there is only {norms}.")
    values = [value for value in (run.late(quantity) for run in own) if value is not None]
    if values:
        return median(values)
    if any(run.late_steps for run in own):
        raise _Undecided(INCONCLUSIVE, f"In the last third of training the numbers under {norm} are not finite.")
    raise _Undecided(
        UNKNOWN, f"There is no sample under {norm} in the last third of training; use a smaller --dynamics."
    )


def _require_learning(runs: Sequence[SampledRun], *norms: str) -> None:
    """Check that most runs under each norm still learn: zero gradients cannot be compared.

    Raises:
        _Undecided: half or more of a norm's runs, whose median would count, have stopped.
    """
    for norm in norms:
        stopped = [run.stopped for run in runs if run.norm == norm]
        if stopped and 2 * sum(stopped) >= len(stopped):
            subject = f"{sum(stopped)} of {len(stopped)} runs have" if len(stopped) > 1 else "the run has"
            raise _Undecided(
                INCONCLUSIVE,
                f"Under {norm} {subject} stopped learning: in the last third of training gradients are zero.",
            )


def _baseline(runs: Sequence[SampledRun]) -> str:
    """The norm that SN is compared with: none, or batch norm (as in the authors' plots) if there is no such run."""
    norms = {run.norm for run in runs}
    for norm in ("none", "bn"):
        if norm in norms:
            return norm
    raise _Undecided(UNKNOWN, f"This needs a run under none or bn too; there is only {', '.join(sorted(norms))}.")


def ratio(value: float, other: float) -> float:
    """Return value / other; 1 if both are 0."""
    if other == 0:
        return 1.0 if value == 0 else float("inf")
    return value / other


def _sparsity(runs: Sequence[SampledRun]) -> tuple[str, str]:
    sn = _late_value(runs, "sn", SMALL_SHARE)
    baseline = _baseline(runs)
    plain = _late_value(runs, baseline, SMALL_SHARE)
    zeros = [_late_value(runs, norm, ZERO_SHARE) for norm in ("sn", baseline)]
    _require_learning(runs, "sn", baseline)
    return SUPPORTED if ratio(sn, plain) >= FACTOR else AGAINST, (
        f"In the last third of training {sn:.2%} of a layer's gradient entries are at most 0.001 of its largest under "
        f"sn, {plain:.2%} under {baseline} (medians over layers and samples): {ratio(sn, plain):.3g} times as many; "
        f"support takes {FACTOR}. Exactly zero are {zeros[0]:.2%} and {zeros[1]:.2%}."
    )


def _variance(runs: Sequence[SampledRun]) -> tuple[str, str]:
    variance, sigma = (_late_value(runs, "sn", quantity) for quantity in (GRADIENT_VARIANCE, GRADIENT_SIGMA))
    baseline = _baseline(runs)
    plain_variance, plain_sigma = (
        _late_value(runs, baseline, quantity) for quantity in (GRADIENT_VARIANCE, GRADIENT_SIGMA)
    )
    _require_learning(runs, "sn", baseline)
    ratios = ratio(variance, plain_variance), ratio(sigma, plain_sigma)
    smaller = sum(value * FACTOR <= 1 for value in ratios)
    return (AGAINST, PARTLY, SUPPORTED)[smaller], (
        f"In the last third of training the variance of a gradient entry over mini-batches is {variance:.3g} under sn, "
        f"{plain_variance:.3g} under {baseline} ({ratios[0]:.3g} times), the largest singular value of the gradient "
        f"matrix {sigma:.3g} and {plain_sigma:.3g} ({ratios[1]:.3g} times; medians over layers and samples). Support "
        f"takes at most 1/{FACTOR} of both, partial support of one."
    )


def _drift(runs: Sequence[SampledRun]) -> tuple[str, str]:
    sn = _late_value(runs, "sn", MEAN_DRIFT)
    _require_learning(runs, "sn")
    reason = (
        f"In the last third of training the means of pre-activations are {sn:.3g} initial standard deviations from "
        f"their initial values (median over layers and samples); from {DRIFT} on they have drifted."
        f"{_drift_of_others(runs)}"
    )
    if sn < DRIFT:
        return AGAINST, reason
    try:
        baseline = _baseline(runs)
    except _Undecided:
        return SUPPORTED, f"{reason} There is no run under none or bn to compare with."
    plain = _late_value(runs, baseline, MEAN_DRIFT)
    _require_learning(runs, baseline)
    if ratio(sn, plain) * FACTOR <= 1:
        return PARTLY, f"{reason} But that is {ratio(sn, plain):.3g} times the drift under {baseline}: SN reduces it."
    return SUPPORTED, reason


def _drift_of_others(runs: Sequence[SampledRun]) -> str:
    """The drift under the other norms that have samples in the last third of training."""
    texts = []
    for norm in dict.fromkeys(run.norm for run in runs if run.norm != "sn"):
        try:
            texts.append(f"{norm} {_late_value(runs, norm, MEAN_DRIFT):.3g}")
        except _Undecided:
            continue
    return f" For comparison: {', '.join(texts)}." if texts else ""


def _removal(runs: Sequence[SampledRun]) -> tuple[str, str]:
    sn, msn = _late_value(runs, "sn", MEAN_DRIFT), _late_value(runs, "msn", MEAN_DRIFT)
    _require_learning(runs, "sn", "msn")
    reason = (
        f"In the last third of training the drift is {msn:.3g} initial standard deviations under msn, {sn:.3g} under "
        f"sn ({ratio(msn, sn):.3g} times; medians over layers and samples); support takes at most 1/{FACTOR}."
    )
    if ratio(msn, sn) * FACTOR > 1:
        return AGAINST, reason
    if sn < DRIFT:
        return INCONCLUSIVE, f"{reason} But under sn there is no drift to remove: less than {DRIFT}."
    return SUPPORTED, reason


_CLAIMS: dict[str, tuple[str, Callable[[Sequence[SampledRun]], tuple[str, str]]]] = {
    "Claim 1": ("SN makes gradients sparse", _sparsity),
    "Claim 2": ("SN controls the variance of gradients", _variance),
    "Claim 3": ("SN lets layer means drift", _drift),
    "Claim 4": ("MSN removes the drift", _removal),
}
