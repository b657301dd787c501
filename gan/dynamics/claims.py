"""Whether runs support what the MSN paper says of training dynamics, by rules that are stated with each answer.

A value of a run is the median over its layers in each sample, then the median over the samples of the last third of
training, then, for several runs of one norm, the median over those. Two values differ where one is at least `FACTOR`
times the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
SUPPORTED, PARTLY, AGAINST, UNKNOWN = "supported", "partly supported", "not supported", "cannot be told"


class Claim(NamedTuple):
    """What the paper says, whether the runs support it, and the numbers and the rule that tell."""

    name: str
    statement: str
    answer: str
    reason: str

    @property
    def sentence(self) -> str:
        """All of it in words."""
        return f"{self.name}, {self.statement}: {self.answer}. {self.reason}"


_STATEMENTS = {
    "C1": "SN makes gradients sparse",
    "C2": "SN controls the variance of gradients",
    "C3": "SN lets layer means drift",
    "C4": "MSN removes the drift",
}


def judge(runs: Sequence[SampledRun]) -> list[Claim]:
    """All claims, in order.

    Args:
        runs: of one network on the same images, under one or several norms.
    """
    runs = comparable(runs)
    return [_claim(name, rule, runs) for name, rule in _RULES.items()]


def _claim(name: str, rule: Callable[[Sequence[SampledRun]], tuple[str, str]], runs: Sequence[SampledRun]) -> Claim:
    reason = _difference(runs)
    if reason:
        return Claim(name, _STATEMENTS[name], UNKNOWN, reason)
    try:
        answer, reason = rule(runs)
    except _Untold as untold:
        answer, reason = UNKNOWN, str(untold)
    return Claim(name, _STATEMENTS[name], answer, reason)


def _difference(runs: Sequence[SampledRun]) -> str:
    """In what the runs differ that must be the same, in a sentence; empty where they do not."""
    networks = {(run.entries[0].get("kind"), tuple(run.entries[0]["layers"])) for run in runs}
    if len(networks) > 1:
        return "The runs are of different networks."
    sizes = [run.sizes for run in runs if run.sizes]
    for name in sizes[0] if sizes else ():
        if len(counts := {size[name] for size in sizes}) > 1:
            return f"The runs are of different networks: {name} has {_listed(counts)} singular values."
    if len(parts := {run.entries[0].get("part") for run in runs}) > 1:
        return f"The runs were sampled on mini-batches of different sizes ({_listed(parts)} images)."
    return ""


def _listed(found: set[Any]) -> str:
    return " and ".join(sorted(map(str, found)))


class _Untold(Exception):
    """A norm or a number that a rule needs is not there, or says nothing."""


def _late(runs: Sequence[SampledRun], norm: str, quantity: Quantity) -> float:
    own = [run.late(quantity) for run in runs if run.norm == norm]
    if not own:
        norms = ", ".join(dict.fromkeys(run.norm for run in runs))
        raise _Untold(f"It takes a run under {norm} too; there is only {norms}.")
    found = [value for value in own if value is not None]
    if not found:
        if any(run.late_steps for run in runs if run.norm == norm):
            raise _Untold(f"In the last third of training the numbers under {norm} are not finite.")
        raise _Untold(f"There is no sample under {norm} in the last third of training; use a smaller --dynamics.")
    return median(found)


def _require_learning(runs: Sequence[SampledRun], *norms: str) -> None:
    """Refuse to judge what does not learn: without gradients there is nothing to compare, and nothing moves."""
    for norm in norms:
        own = [run.stopped for run in runs if run.norm == norm]
        if own and 2 * sum(own) >= len(own):  # then a median over runs is of those that have stopped, or between
            which = f"{sum(own)} of {len(own)} runs have" if len(own) > 1 else "the run has"
            raise _Untold(f"Under {norm} {which} stopped learning: in the last third of training gradients are zero.")


def _baseline(runs: Sequence[SampledRun]) -> str:
    """What SN is held against: no norm, or batch norm (as in the authors' plots) where that is not there."""
    norms = {run.norm for run in runs}
    for norm in ("none", "bn"):
        if norm in norms:
            return norm
    raise _Untold(f"It takes a run under none or bn too; there is only {', '.join(sorted(norms))}.")


def ratio(value: float, other: float) -> float:
    """value / other; 1 where both are 0."""
    if other == 0:
        return 1.0 if value == 0 else float("inf")
    return value / other


def _sparsity(runs: Sequence[SampledRun]) -> tuple[str, str]:
    sn = _late(runs, "sn", SMALL_SHARE)
    other = _baseline(runs)
    plain = _late(runs, other, SMALL_SHARE)
    zeros = _late(runs, "sn", ZERO_SHARE), _late(runs, other, ZERO_SHARE)
    _require_learning(runs, "sn", other)
    answer = SUPPORTED if ratio(sn, plain) >= FACTOR else AGAINST
    return answer, (
        f"In the last third of training {sn:.2%} of a layer's gradient entries are at most 0.001 of its largest under "
        f"sn, {plain:.2%} under {other} (medians over layers and samples): {ratio(sn, plain):.3g} times as many, and "
        f"support takes {FACTOR}. Exactly zero are {zeros[0]:.2%} and {zeros[1]:.2%}."
    )


def _variance(runs: Sequence[SampledRun]) -> tuple[str, str]:
    pairs = []
    other = ""
    for quantity in (GRADIENT_VARIANCE, GRADIENT_SIGMA):
        sn = _late(runs, "sn", quantity)
        other = _baseline(runs)
        pairs.append((sn, _late(runs, other, quantity)))
    _require_learning(runs, "sn", other)
    ratios = [ratio(*pair) for pair in pairs]
    less = sum(value * FACTOR <= 1 for value in ratios)
    (variance, plain_variance), (sigma, plain_sigma) = pairs
    return (AGAINST, PARTLY, SUPPORTED)[less], (
        f"In the last third of training the variance of a gradient entry over mini-batches is {variance:.3g} under sn, "
        f"{plain_variance:.3g} under {other} ({ratios[0]:.3g} times), the largest singular value of the gradient "
        f"matrix {sigma:.3g} and {plain_sigma:.3g} ({ratios[1]:.3g} times; medians over layers and samples). Support "
        f"takes at most 1/{FACTOR} of both, partial support of one."
    )


def _drift(runs: Sequence[SampledRun]) -> tuple[str, str]:
    sn = _late(runs, "sn", MEAN_DRIFT)
    _require_learning(runs, "sn")
    reason = (
        f"In the last third of training the means of pre-activations are {sn:.3g} initial standard deviations from "
        f"where they began (median over layers and samples); from {DRIFT} on they have drifted.{_beside(runs)}"
    )
    if sn < DRIFT:
        return AGAINST, reason
    try:
        other = _baseline(runs)
    except _Untold:
        return SUPPORTED, f"{reason} There is no run under none or bn to hold that against."
    plain = _late(runs, other, MEAN_DRIFT)
    _require_learning(runs, other)
    if ratio(sn, plain) * FACTOR <= 1:
        return PARTLY, f"{reason} But that is {ratio(sn, plain):.3g} times the drift under {other}: SN holds it back."
    return SUPPORTED, reason


def _beside(runs: Sequence[SampledRun]) -> str:
    """The drift under the other norms that were sampled so late."""
    found = {}
    for norm in dict.fromkeys(run.norm for run in runs if run.norm != "sn"):
        try:
            found[norm] = _late(runs, norm, MEAN_DRIFT)
        except _Untold:
            continue
    return f" For comparison: {', '.join(f'{norm} {value:.3g}' for norm, value in found.items())}." if found else ""


def _removal(runs: Sequence[SampledRun]) -> tuple[str, str]:
    sn, msn = _late(runs, "sn", MEAN_DRIFT), _late(runs, "msn", MEAN_DRIFT)
    _require_learning(runs, "sn", "msn")
    reason = (
        f"In the last third of training the drift is {msn:.3g} initial standard deviations under msn, {sn:.3g} under "
        f"sn ({ratio(msn, sn):.3g} times; medians over layers and samples); support takes at most 1/{FACTOR}."
    )
    if ratio(msn, sn) * FACTOR > 1:
        return AGAINST, reason
    if sn < DRIFT:
        return UNKNOWN, f"{reason} But under sn there is no drift to remove: less than {DRIFT}."
    return SUPPORTED, reason


_RULES: dict[str, Callable[[Sequence[SampledRun]], tuple[str, str]]] = {
    "C1": _sparsity,
    "C2": _variance,
    "C3": _drift,
    "C4": _removal,
}
