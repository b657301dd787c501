"""Paired sign-flip tests over seeds, and Holm's correction for several of them.

Both arms of a pair start from the same weights and see the same images. The exact sign-flip permutation test assumes
that, if the arms do not differ, the sign of each seed's difference is arbitrary (Fisher 1935, The Design of
Experiments, section 21). All 2ⁿ sign assignments of n seeds are counted, so p is exact; its smallest possible value is
2 / 2ⁿ. Of more than 40 seeds, a random sample of the assignments is counted, which gives a valid p too (Phipson and
Smyth 2010, Permutation P-values Should Never Be Zero, doi 10.2202/1544-6115.1585).
"""

from collections.abc import Mapping, Sequence
from itertools import count
from statistics import stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gan.utils.confidence import confidence_interval

LEVEL = 0.05
"""A difference is significant if its p, after Holm's correction, is below this."""

MOST_EXACT = 40
"""Number of seeds up to which all sign assignments are counted."""
SAMPLED = 100_000
"""Number of random sign assignments that are counted for more seeds."""

_CHUNK = 4_000_000  # signs that are in memory at a time
_ROUNDING = 1e-9  # relative difference up to which sums count as equal


def sign_flip_p(differences: Sequence[float]) -> float:
    """Return the two-sided p of the sign-flip test: the share of all 2ⁿ sign assignments with as large a |sum|.

    The sums of two halves are combined by sorting one of them, so counting all 2ⁿ takes the time of 2^(n/2). For more
    than `MOST_EXACT` differences the share is that of `SAMPLED` random assignments and the observed one, always the
    same ones for a number of differences; its standard error is sqrt(p (1 − p) / 100,000).

    Raises:
        ValueError: there are no differences.
    """
    if not differences:
        raise ValueError("a test of no differences")
    values = np.asarray(differences, dtype=np.float64)
    least = abs(values.sum()) - _ROUNDING * np.abs(values).sum()
    if least <= 0:
        return 1.0
    if len(values) > MOST_EXACT:
        return (_sampled_as_large(values, least) + 1) / (SAMPLED + 1)
    middle = len(values) // 2
    first, second = np.sort(_sums(values[:middle])), _sums(values[middle:])
    # |a + b| >= least: a >= least − b, or a <= −least − b.
    above = len(first) - np.searchsorted(first, least - second, side="left")
    below = np.searchsorted(first, -least - second, side="right")
    return float(above.sum() + below.sum()) / 2.0 ** len(values)


def _sampled_as_large(values: NDArray[np.float64], least: float) -> int:
    """Return how many of `SAMPLED` random sign assignments of n values have a |sum| of at least `least`."""
    rng, count, left = np.random.default_rng(0), 0, SAMPLED
    while left:
        rows = min(left, max(1, _CHUNK // len(values)))
        bits = rng.integers(0, 256, (rows, -(-len(values) // 8)), dtype=np.uint8)
        flipped = np.unpackbits(bits, axis=1, count=len(values)) @ values  # (rows, n) @ (n,) -> (rows,)
        count += int((np.abs(values.sum() - 2 * flipped) >= least).sum())
        left -= rows
    return count


def _sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sums of n values under all sign assignments, (2^n,)."""
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate((sums + value, sums - value))
    return sums


def least_p(seeds: int) -> float:
    """Return the smallest p that the sign-flip test can give with so many seeds."""
    return 2.0 ** (1 - seeds) if seeds <= MOST_EXACT else 1 / (SAMPLED + 1)


def least_seeds(tests: int) -> int:
    """Return the smallest number of seeds with which one of so many tests can be significant, whatever the others."""
    return next(seeds for seeds in count(1) if tests * least_p(seeds) < LEVEL)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p values corrected for their number by Holm's step-down method.

    The chance of one or more false findings among all tests is then at most the level (Holm 1979, A simple
    sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6, 65-70).
    """
    corrected, largest = [1.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected


def paired_test(first: Sequence[float], second: Sequence[float], *, tested: bool = True) -> dict[str, Any]:
    """Test the differences second − first, paired by seed.

    Args:
        tested: compute `p`; None otherwise.

    Returns:
        `seeds`, their number n; `differences`; `difference`, their mean; `half_width` of its 95 % confidence interval
        (Student's t), `spread`, the standard deviation of the differences, and `effect_size`, Cohen's d_z = mean /
        standard deviation, None if undefined; `p` of the sign-flip test and `least_p`, its smallest possible value for
        n seeds.

    Raises:
        ValueError: there are no values, or the numbers of values differ.
    """
    differences = [b - a for a, b in zip(first, second, strict=True)]
    mean, half_width = confidence_interval(differences)
    spread = stdev(differences) if len(differences) > 1 else None
    return {
        "seeds": len(differences),
        "difference": mean,
        "differences": differences,
        "half_width": half_width,
        "spread": spread,
        "effect_size": mean / spread if spread else None,
        "p": sign_flip_p(differences) if tested else None,
        "least_p": least_p(len(differences)),
    }


def differences_from(tests: Sequence[Mapping[str, Any]], arm: str) -> list[dict[str, Any]]:
    """Return the tests of which an arm is part, with differences that are the other arm minus this one."""
    against = []
    for test in tests:
        first, second = test["norms"]
        if first == arm:
            against.append(dict(test))
        elif second == arm:
            effect = test["effect_size"]
            against.append(
                {
                    **test,
                    "norms": [second, first],
                    "difference": 0.0 - test["difference"],  # not −0
                    "differences": [0.0 - value for value in test["differences"]],
                    "effect_size": None if effect is None else 0.0 - effect,
                }
            )
    return against
