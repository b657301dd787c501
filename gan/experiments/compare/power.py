"""Number of seeds that a paired comparison needs to show a difference of a given size."""

import math
from functools import cache

import numpy as np
from scipy.special import nctdtr, ndtri, stdtrit

from gan.experiments.compare.paired_test import LEVEL, least_p, least_seeds

POWER = 0.8
"""Probability with which a difference is to be shown."""
MOST_NEEDED = 1000
"""Largest number of seeds that is looked for."""

_MOST_EXACT = 12  # seeds up to which all signs are counted
_SIMULATIONS = 2000
_LARGEST_EFFECT = 5.0  # a normal difference then has the wrong sign in 3 of 10 million seeds


def seeds_needed(difference: float, spread: float, tests: int = 1) -> int | None:
    """Return how many seeds the two-sided sign-flip test needs for a power of 80 %; None if more than `MOST_NEEDED`.

    The differences of single seeds are taken as normal. Up to 12 seeds the power is simulated with a seeded generator,
    counting all signs of each simulated comparison; beyond, it is that of the t test, whose p the sign-flip test
    approaches.

    Args:
        difference: mean difference to be shown.
        spread: standard deviation of the differences of single seeds.
        tests: number of tests; each is held to 0.05 / `tests`, the strictest step of Holm's correction.
    """
    effect = min(difference / spread, _LARGEST_EFFECT) if spread > 0 else _LARGEST_EFFECT
    seeds = max(least_seeds(tests), _t_test_seeds(effect, LEVEL / tests))
    while seeds <= _MOST_EXACT and _shown_effect(seeds, tests) > effect:
        seeds += 1
    return seeds if seeds <= MOST_NEEDED else None


def _t_test_seeds(effect: float, level: float) -> int:
    """Return how many seeds the t test needs, or `MOST_NEEDED` + 1; the sign-flip test needs as many or more."""
    # With a known spread, the z test needs ((z₁ + z₂) / effect)² seeds, and the t test more.
    seeds = max(2, int(min(MOST_NEEDED + 1, ((ndtri(1 - level / 2) + ndtri(POWER)) / effect) ** 2)))
    while seeds <= MOST_NEEDED:
        critical, center = stdtrit(seeds - 1, 1 - level / 2), effect * seeds**0.5
        if nctdtr(seeds - 1, center, -critical) + 1 - nctdtr(seeds - 1, center, critical) >= POWER:
            break
        seeds += 1
    return seeds


@cache
def _shown_effect(seeds: int, tests: int) -> float:
    """Return the effect size, mean / standard deviation, for which so many seeds have a power of 80 %.

    The mean m of a simulated comparison with noise z enters all sums: Σ s_i (m + z_i) = m Σ s_i + Σ s_i z_i. So each
    sign assignment s is less extreme than the observed one (all s_i = 1) if m is above a threshold, and p is below the
    level if m is above all but so many of the thresholds.
    """
    negative = np.arange(1, 2 ** (seeds - 1))[:, None] >> np.arange(seeds) & 1  # one of each s and −s
    signs = 1.0 - 2.0 * negative  # (2^(n-1) − 1, n)
    noise = np.random.default_rng(seeds).normal(size=(_SIMULATIONS, seeds))
    sums, observed, balance = noise @ signs.T, noise.sum(axis=1, keepdims=True), signs.sum(axis=1)
    thresholds = np.maximum((sums - observed) / (seeds - balance), -(sums + observed) / (seeds + balance))
    extreme = math.ceil(LEVEL / tests / least_p(seeds)) - 1  # assignments, with the observed one, for p < level
    needed = np.partition(thresholds, -extreme, axis=1)[:, -extreme]
    return float(np.quantile(needed, POWER))
