"""Paired tests over seeds: both norms of a pair start from the same weights and see the same images.

The test is the exact sign-flip permutation test: if the norm made no difference, each seed's difference might as well
have the other sign (Fisher 1935, The Design of Experiments, section 21). All 2ⁿ ways to set n signs are counted, so
that p is exact; it cannot be less than 2 / 2ⁿ.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gan.utils.confidence import confidence_interval

_ROUNDING = 1e-9  # relative: sums that differ by less are equal


def sign_flip_p(differences: Sequence[float]) -> float:
    """The two-sided p of the exact sign-flip test: the share of all 2ⁿ sign settings whose |sum| is as large.

    The sums of two halves are combined by sorting one of them, so that all 2ⁿ are counted in the time of 2^(n/2).

    Raises:
        ValueError: there are no differences.
    """
    if not differences:
        raise ValueError("a test of no differences")
    values = np.asarray(differences, dtype=np.float64)
    least = abs(values.sum()) - _ROUNDING * np.abs(values).sum()
    if least <= 0:
        return 1.0
    middle = len(values) // 2
    first, second = np.sort(_sums(values[:middle])), _sums(values[middle:])
    # |a + b| >= least: a >= least − b, or a <= −least − b.
    above = len(first) - np.searchsorted(first, least - second, side="left")
    below = np.searchsorted(first, -least - second, side="right")
    return float(above.sum() + below.sum()) / 2.0 ** len(values)


def _sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sums of n values under all sign settings, (2^n,)."""
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate((sums + value, sums - value))
    return sums


def paired_test(first: Sequence[float], second: Sequence[float]) -> dict[str, Any]:
    """How much more the second has than the first, seed by seed.

    Returns:
        `seeds`, their number n; `difference`, the mean of second − first; `half_width` of its 95 % interval (Student's
        t) and `effect_size`, Cohen's d_z = mean / standard deviation, None where they do not exist; `p` of the
        sign-flip test and `least_p`, the least that n seeds can give.

    Raises:
        ValueError: there are no values, or not as many of both.
    """
    differences = [b - a for a, b in zip(first, second, strict=True)]
    found = confidence_interval(differences)
    spread = stdev(differences) if len(differences) > 1 else 0.0
    return {
        "seeds": len(differences),
        "difference": found.mean,
        "half_width": found.half,
        "effect_size": found.mean / spread if spread > 0 else None,
        "p": sign_flip_p(differences),
        "least_p": 2.0 ** (1 - len(differences)),
    }


def describe_test(test: Mapping[str, Any], what: str, names: tuple[str, str], digits: int, factor: float = 1.0) -> str:
    """The outcome in a sentence. A difference is claimed where its 95 % interval does not reach 0.

    Args:
        test: what `paired` gave.
        what: the score, as `FID`.
        names: of the first and the second norm.
        digits: after the point.
        factor: that the score is shown with.
    """
    other, subject = names
    difference, half, seeds = test["difference"] * factor, test["half_width"], test["seeds"]
    side = "higher" if difference > 0 else "lower"
    size = f"{abs(difference):.{digits}f}"
    if difference == 0:
        return (
            f"No difference in {what} over {seeds} {'seed' if seeds == 1 else 'seeds'}: {subject}'s equals {other}'s."
        )
    if half is None:
        return f"{subject}'s {what} is {side} by {size} than {other}'s with one seed: that has no interval and no test."
    size += f" ± {half * factor:.{digits}f}"
    p = f"exact sign-flip test p = {test['p']:.3g}"
    if math.isclose(test["p"], test["least_p"]) and test["least_p"] > 0.05:
        p += f": {seeds} seeds cannot give less"
    if abs(difference) > half * factor:
        return f"{subject}'s {what} is {side} by {size} than {other}'s over {seeds} seeds ({p})."
    return f"No difference in {what} that {seeds} seeds can show: {subject}'s is {side} by {size} than {other}'s ({p})."


def multiplicity_note(tests: Sequence[Mapping[str, Any]]) -> str:
    """How far tests may be trusted that are several.

    Args:
        tests: each with `primary`, whether it is one of those that something is concluded from.
    """
    primary = sum(test["primary"] for test in tests)
    which = "FID at the end" if primary == 1 else f"FID at the end under each of the {primary} settings"
    told = (
        f"The test is that of {which}. {len(tests) - primary} of the {len(tests)} rows are other scores: their "
        "intervals and p are not corrected for their number, so some may leave out 0 by chance; take them for hints."
    )
    return told if primary == 1 else f"{told} Nor are those of FID at the end corrected for being several."
