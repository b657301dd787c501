"""Paired sign-flip tests over seeds: both norms of a pair start from the same weights and see the same images.

The exact sign-flip permutation test assumes that, if the norm makes no difference, the sign of each seed's difference
is arbitrary (Fisher 1935, The Design of Experiments, section 21). All 2ⁿ sign assignments of n seeds are counted, so p
is exact; its smallest possible value is 2 / 2ⁿ.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gan.utils.confidence import LEAST_RUNS, confidence_interval
from gan.utils.counted import counted

_ROUNDING = 1e-9  # relative difference up to which sums count as equal


def sign_flip_p(differences: Sequence[float]) -> float:
    """Return the two-sided p of the exact sign-flip test: the share of all 2ⁿ sign assignments with as large a |sum|.

    The sums of two halves are combined by sorting one of them, so counting all 2ⁿ takes the time of 2^(n/2).

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
    """Return the sums of n values under all sign assignments, (2^n,)."""
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate((sums + value, sums - value))
    return sums


def paired_test(first: Sequence[float], second: Sequence[float]) -> dict[str, Any]:
    """Test the differences second − first, paired by seed.

    Returns:
        `seeds`, their number n; `differences`; `difference`, their mean; `half_width` of its 95 % confidence interval
        (Student's t) and `effect_size`, Cohen's d_z = mean / standard deviation, None if undefined; `p` of the
        sign-flip test and `least_p`, its smallest possible value for n seeds.

    Raises:
        ValueError: there are no values, or the numbers of values differ.
    """
    differences = [b - a for a, b in zip(first, second, strict=True)]
    mean, half_width = confidence_interval(differences)
    spread = stdev(differences) if len(differences) > 1 else 0.0
    return {
        "seeds": len(differences),
        "difference": mean,
        "differences": differences,
        "half_width": half_width,
        "effect_size": mean / spread if spread > 0 else None,
        "p": sign_flip_p(differences),
        "least_p": 2.0 ** (1 - len(differences)),
    }


def describe_test(test: Mapping[str, Any], title: str, norms: tuple[str, str], digits: int, factor: float = 1.0) -> str:
    """Return the outcome in a sentence.

    It claims a difference if there are at least four seeds and the 95 % confidence interval excludes 0.

    Args:
        test: what `paired_test` returns.
        title: name of the score, as `FID`.
        norms: the first and the second norm.
        digits: digits after the point.
        factor: factor by which the score is multiplied when shown.
    """
    first, second = norms
    difference, half_width, seeds = test["difference"] * factor, test["half_width"], test["seeds"]
    over = f"over {counted(seeds, 'seed')}"
    if difference == 0:
        return f"No difference in {title} {over}: {second}'s equals {first}'s."
    side, size = "higher" if difference > 0 else "lower", f"{abs(difference):.{digits}f}"
    if half_width is None:
        return f"{second}'s {title} is {side} by {size} than {first}'s, from one seed: no interval and no test."
    p = f"exact sign-flip test p = {test['p']:.3g}"
    if math.isclose(test["p"], test["least_p"]) and test["least_p"] > 0.05:
        p += f", the smallest possible with {counted(seeds, 'seed')}"
    if seeds < LEAST_RUNS:
        low, high = (factor * limit(test["differences"]) for limit in (min, max))
        return (
            f"{second}'s {title} is {side} by {size} than {first}'s {over}, with differences from {low:.{digits}f} to "
            f"{high:.{digits}f} ({p}). Fewer than {LEAST_RUNS} seeds do not support a conclusion."
        )
    size += f" ± {half_width * factor:.{digits}f}"
    if abs(difference) > half_width * factor:
        return f"{second}'s {title} is {side} by {size} than {first}'s {over} ({p})."
    return f"No difference in {title} that {seeds} seeds can show: {second}'s is {side} by {size} than {first}'s ({p})."


def multiplicity_note(tests: Sequence[Mapping[str, Any]]) -> str:
    """Return the note on multiple testing.

    Args:
        tests: each with `primary`, whether a conclusion is drawn from it.
    """
    primary = sum(test["primary"] for test in tests)
    tested = "final FID" if primary == 1 else f"final FID under each of the {primary} settings"
    note = (
        f"Tested: {tested}. The other {len(tests) - primary} of the {len(tests)} rows are not corrected for multiple "
        "testing: some of their intervals may exclude 0 by chance, so take them as hints."
    )
    return note if primary == 1 else f"{note} The tests of final FID are not corrected either."
