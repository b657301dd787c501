"""Compare runs with what the MSN paper claims about training dynamics.

The value of a run is the median over its layers in each sample, then the median over the samples of the last third of
training, then, for several runs of one norm, the median over those. If a comparison has several arms of one norm, the
claims are about the one named after it, or else the first. Two values differ if one is at least `FACTOR` times
the other.
"""

from collections.abc import Callable, Sequence
from statistics import median
from typing import NamedTuple

from gan.dynamics import samples
from gan.dynamics.samples import Quantity, SampledRun
from gan.utils.counted import counted

FACTOR = 1.5
DRIFT = 0.5  # initial standard deviations; from here on a mean has drifted
LEAST_STEPS = 200  # of a run; its last third is then well after the start, in which every quantity changes fast
LEAST_SAMPLES = 2  # of a run in its last third; a single one may be an outlier
SUPPORTED, PARTLY, AGAINST = "supported", "partly supported", "not supported"
UNKNOWN, INCONCLUSIVE, TOO_SHORT = "not enough runs to say", "inconclusive", "too short to say"
_BASELINES = ("none", "bn")  # what SN is compared with: bn, as in the authors' plots, if there is no run under none


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
    runs = samples.comparable(runs)
    claims = []
    for name, (statement, rule) in _CLAIMS.items():
        try:
            _require_comparable(runs)
            answer, reason = rule(runs)
        except _Undecided as undecided:
            answer, reason = undecided.args
        claims.append(Claim(name, statement, answer, reason))
    return claims


def _require_comparable(runs: Sequence[SampledRun]) -> None:
    if len({(run.entries[0].get("kind"), tuple(run.entries[0]["layers"])) for run in runs}) > 1:
        raise _Undecided(INCONCLUSIVE, "The runs are of different networks.")
    sizes = [run.sizes for run in runs if run.sizes]
    for name in sizes[0] if sizes else ():
        if len(counts := {size[name] for size in sizes}) > 1:
            numbers = " and ".join(sorted(map(str, counts)))
            raise _Undecided(INCONCLUSIVE, f"The runs are of different networks: {name} has {numbers} singular values.")
    if len(batches := {run.entries[0].get("part") for run in runs}) > 1:
        numbers = " and ".join(sorted(map(str, batches)))
        raise _Undecided(INCONCLUSIVE, f"The runs were sampled on mini-batches of different sizes ({numbers} images).")


def _runs_under(runs: Sequence[SampledRun], *norms: str) -> list[SampledRun]:
    """The runs of the first of some norms that has any; all must be long enough."""
    for norm in norms:
        if own := samples.runs_under(runs, norm):
            _require_long_enough(own)
            return own
    present = ", ".join(dict.fromkeys(run.label for run in runs))
    raise _Undecided(UNKNOWN, f"This needs a run under {' or '.join(norms)} too; there is only {present}.")


def _require_long_enough(runs: Sequence[SampledRun]) -> None:
    """Check the number of steps of each run, and of samples in its last third.

    Raises:
        _Undecided: a run has too few; says how many are needed.
    """
    norm, last = runs[0].label, min(run.last_step for run in runs)
    if last < LEAST_STEPS:
        raise _Undecided(
            TOO_SHORT,
            f"The run under {norm} has {counted(last, 'step')}, {LEAST_STEPS} are needed; shorter runs show the start "
            "of training alone.",
        )
    if (fewest := min(len(run.late_steps) for run in runs)) < LEAST_SAMPLES:
        raise _Undecided(
            TOO_SHORT,
            f"The run under {norm} has {counted(fewest, 'sample')} in the last third of training, {LEAST_SAMPLES} are "
            "needed; use a smaller --dynamics.",
        )


def _late_values(quantity: Quantity, *groups: Sequence[SampledRun]) -> list[float]:
    """The value of a quantity in each group of runs, which have one norm.

    Raises:
        _Undecided: a group has no finite number in the last third of training.
    """
    medians = []
    for runs in groups:
        values = [value for value in (run.late(quantity) for run in runs) if value is not None]
        if not values:
            reason = f"In the last third of training there are no finite numbers under {runs[0].label}."
            raise _Undecided(INCONCLUSIVE, reason)
        medians.append(median(values))
    return medians


def _require_learning(*groups: Sequence[SampledRun]) -> None:
    """Check that most runs of each group still learn: zero gradients cannot be compared.

    Raises:
        _Undecided: half or more of a group's runs, whose median would count, have stopped.
    """
    for runs in groups:
        stopped = sum(run.stopped for run in runs)
        if 2 * stopped >= len(runs):
            subject = f"{stopped} of {len(runs)} runs have" if len(runs) > 1 else "the run has"
            reason = (
                f"Under {runs[0].label} {subject} stopped learning: in the last third of training gradients are zero."
            )
            raise _Undecided(INCONCLUSIVE, reason)


def _labels(*groups: Sequence[SampledRun]) -> list[str]:
    return [runs[0].label for runs in groups]


def ratio(value: float, other: float) -> float:
    """Return value / other; 1 if both are 0."""
    if other == 0:
        return 1.0 if value == 0 else float("inf")
    return value / other


def _sparsity(runs: Sequence[SampledRun]) -> tuple[str, str]:
    groups = _runs_under(runs, "sn"), _runs_under(runs, *_BASELINES)
    sn, plain = _late_values(samples.SMALL_SHARE, *groups)
    sn_zeros, plain_zeros = _late_values(samples.ZERO_SHARE, *groups)
    _require_learning(*groups)
    sn_label, plain_label = _labels(*groups)
    return SUPPORTED if ratio(sn, plain) >= FACTOR else AGAINST, (
        f"In the last third of training {sn:.2%} of a layer's gradient entries are at most 0.001 of its largest under "
        f"{sn_label}, {plain:.2%} under {plain_label} (medians over layers and samples): {ratio(sn, plain):.3g} times "
        f"as many; support takes {FACTOR}. Exactly zero are {sn_zeros:.2%} and {plain_zeros:.2%}."
    )


def _variance(runs: Sequence[SampledRun]) -> tuple[str, str]:
    groups = _runs_under(runs, "sn"), _runs_under(runs, *_BASELINES)
    variance, plain_variance = _late_values(samples.GRADIENT_VARIANCE, *groups)
    sigma, plain_sigma = _late_values(samples.GRADIENT_SIGMA, *groups)
    _require_learning(*groups)
    sn_label, plain_label = _labels(*groups)
    ratios = ratio(variance, plain_variance), ratio(sigma, plain_sigma)
    smaller = sum(value * FACTOR <= 1 for value in ratios)
    return (AGAINST, PARTLY, SUPPORTED)[smaller], (
        f"In the last third of training the variance of a gradient entry over mini-batches is {variance:.3g} under "
        f"{sn_label}, {plain_variance:.3g} under {plain_label} ({ratios[0]:.3g} times), the largest singular value of "
        f"the gradient matrix {sigma:.3g} and {plain_sigma:.3g} ({ratios[1]:.3g} times; medians over layers and "
        f"samples). Support takes at most 1/{FACTOR} of both, partial support of one."
    )


def _drift(runs: Sequence[SampledRun]) -> tuple[str, str]:
    own = _runs_under(runs, "sn")
    (sn,) = _late_values(samples.MEAN_DRIFT, own)
    _require_learning(own)
    reason = (
        f"In the last third of training the means of pre-activations are {sn:.3g} initial standard deviations from "
        f"their initial values (median over layers and samples); from {DRIFT} on they have drifted."
        f"{_drift_of_others(runs)}"
    )
    if sn < DRIFT:
        return AGAINST, reason
    if not any(run.norm in _BASELINES for run in runs):
        return SUPPORTED, f"{reason} There is no run under {' or '.join(_BASELINES)} to compare with."
    baseline = _runs_under(runs, *_BASELINES)
    (plain,) = _late_values(samples.MEAN_DRIFT, baseline)
    _require_learning(baseline)
    if ratio(sn, plain) * FACTOR <= 1:
        comparison = f"{ratio(sn, plain):.3g} times the drift under {baseline[0].label}"
        return PARTLY, f"{reason} But that is {comparison}: SN reduces it."
    return SUPPORTED, reason


def _drift_of_others(runs: Sequence[SampledRun]) -> str:
    """The drift of the other norms or arms that have samples in the last third of training."""
    texts, own = [], samples.runs_under(runs, "sn")[0].name
    for name, group in samples.runs_by_arm(run for run in runs if run.name != own).items():
        values = [value for run in group if (value := run.late(samples.MEAN_DRIFT)) is not None]
        texts += [f"{name} {median(values):.3g}"] if values else []
    return f" For comparison: {', '.join(texts)}." if texts else ""


def _removal(runs: Sequence[SampledRun]) -> tuple[str, str]:
    groups = _runs_under(runs, "sn"), _runs_under(runs, "msn")
    sn, msn = _late_values(samples.MEAN_DRIFT, *groups)
    _require_learning(*groups)
    sn_label, msn_label = _labels(*groups)
    reason = (
        f"In the last third of training the drift is {msn:.3g} initial standard deviations under {msn_label}, {sn:.3g} "
        f"under {sn_label} ({ratio(msn, sn):.3g} times; medians over layers and samples); support takes at most "
        f"1/{FACTOR}."
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
