"""Number of seeds needed, against the t test and against the sign-flip test of simulated comparisons."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from gan.experiments.compare.paired_test import LEVEL, least_seeds, sign_flip_p
from gan.experiments.compare.power import MOST_NEEDED, POWER, seeds_needed


def t_test_seeds(effect: float) -> int:
    """The sample size of a paired t test, from scipy's noncentral t distribution."""

    def power(seeds: int) -> float:
        critical, t = stats.t.isf(0.025, seeds - 1), stats.nct(seeds - 1, effect * seeds**0.5)
        return float(t.sf(critical) + t.cdf(-critical))

    return next(seeds for seeds in range(2, 2000) if power(seeds) >= 0.8)


def sign_flip_power(seeds: int, effect: float, tests: int) -> float:
    """The share of simulated comparisons whose exact p is below the level."""
    samples = np.random.default_rng(99).normal(effect, 1, (1500, seeds))
    return float(np.mean([sign_flip_p(sample.tolist()) < LEVEL / tests for sample in samples]))


def test_the_t_test_in_textbooks() -> None:
    """Cohen 1988: a paired t test at 0.05 with 80 % power needs 34 pairs for d = 0.5, 15 for 0.8 and 199 for 0.2."""
    assert [t_test_seeds(effect) for effect in (0.5, 0.8, 0.2)] == [34, 15, 199]


@pytest.mark.parametrize("effect", [0.1, 0.2, 0.3, 0.5, 0.8, 0.9, 1.0, 1.1, 1.2, 1.5])
def test_about_as_many_as_the_t_test(effect: float) -> None:
    assert 0 <= seeds_needed(effect, 1.0) - t_test_seeds(effect) <= 1  # type: ignore[operator]


@pytest.mark.parametrize("tests", [1, 4, 10, 66])
@pytest.mark.parametrize("effect", [0.9, 1.0, 1.2, 1.6, 2.0, 3.0])
def test_the_exact_test_has_the_power(effect: float, tests: int) -> None:
    """Within one seed, beyond 12 seeds too, where the t test stands in."""
    seeds = seeds_needed(effect, 1.0, tests)
    assert seeds is not None and seeds >= least_seeds(tests)
    if seeds < 20:  # counting takes too long for more
        assert sign_flip_power(seeds + 1, effect, tests) > POWER
    if least_seeds(tests) < seeds < 20:
        assert sign_flip_power(seeds - 1, effect, tests) < POWER + 0.03  # 0.01 is the standard error


def test_units_and_limits() -> None:
    assert seeds_needed(5, 4.0) == seeds_needed(1.25, 1.0) == 8
    assert seeds_needed(1, 0.0) == 6 == seeds_needed(1e9, 1e-9)  # equal differences: only the smallest p limits
    assert seeds_needed(1, 100.0) is None
    assert seeds_needed(0.09, 1.0) == t_test_seeds(0.09) <= MOST_NEEDED
