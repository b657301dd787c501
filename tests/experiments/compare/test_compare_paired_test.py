"""The exact sign-flip test and Holm's correction."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from gan.experiments.compare.paired_test import (
    LEVEL,
    SAMPLED,
    differences_from,
    holm,
    least_p,
    least_seeds,
    paired_test,
    sign_flip_p,
)


@pytest.mark.parametrize("count", range(1, 12))
def test_sign_flip_counts_all_signs(count: int) -> None:
    """Compare with a count over every sign assignment."""
    values = np.random.default_rng(count).normal(0.5, 1, count)
    sums = [
        abs(sum(s * v for s, v in zip(signs, values, strict=True)))
        for signs in itertools.product((1, -1), repeat=count)
    ]
    expected = sum(total >= abs(values.sum()) - 1e-12 for total in sums) / 2**count
    assert sign_flip_p(values.tolist()) == expected


@pytest.mark.parametrize("values", [[1.0, 2.0, 3.0, -1.0, 2.5], [0.3, 0.1, -0.2, 0.4, 0.7, 0.2, -0.1]])
def test_sign_flip_is_scipys_permutation_test(values: list[float]) -> None:
    reference = stats.permutation_test((values,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip_p(values) == pytest.approx(reference.pvalue, abs=1e-12)


def test_ties_and_extremes() -> None:
    assert sign_flip_p([2.0, 2.0, 2.0]) == 0.25  # all plus, or all minus
    assert sign_flip_p([1.0, -1.0]) == 1.0 == sign_flip_p([0.0, 0.0, 0.0])
    assert sign_flip_p([0.1, 0.2, 0.3, -0.3]) == pytest.approx(12 / 16)  # sums that are equal but for rounding count
    assert sign_flip_p([1.0] * 40) == 2.0**-39
    with pytest.raises(ValueError, match="a test of no differences"):
        sign_flip_p([])


@pytest.mark.parametrize("shift", [0.1, 0.3, 0.5])
def test_random_signs_agree_with_all_signs(shift: float, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(3).normal(shift, 1, 30).tolist()
    exact = sign_flip_p(values)
    monkeypatch.setattr("gan.experiments.compare.paired_test.MOST_EXACT", 29)
    sampled = sign_flip_p(values)
    assert abs(sampled - exact) < 4 * (exact * (1 - exact) / SAMPLED) ** 0.5
    assert sampled == sign_flip_p(values) == sign_flip_p([-value for value in values]) != exact


def test_many_seeds() -> None:
    """All 2^n signs of n seeds do not fit into memory."""
    values = np.random.default_rng(0).normal(0.02, 1, 1000).tolist()
    reference = stats.ttest_1samp(values, 0).pvalue  # which the sign-flip test approaches
    assert sign_flip_p(values) == pytest.approx(reference, abs=0.01)
    assert sign_flip_p([1.0] * 41) == least_p(41) == least_p(10_000) == 1 / (SAMPLED + 1)
    assert paired_test([1.0] * 9, [2.0] * 9, tested=False)["p"] is None


def test_paired_numbers() -> None:
    first, second = [12.0, 11.0, 13.0], [10.0, 9.5, 10.2]
    test = paired_test(first, second)
    assert test["difference"] == pytest.approx(-2.1) and test["seeds"] == 3
    assert test["differences"] == pytest.approx([-2.0, -1.5, -2.8])
    assert test["p"] == 0.25 == test["least_p"]
    spread = np.std([-2.0, -1.5, -2.8], ddof=1)
    assert test["spread"] == pytest.approx(spread) and test["effect_size"] == pytest.approx(-2.1 / spread)
    alone, equal = paired_test([1.0], [2.0]), paired_test([1.0, 2.0], [2.0, 3.0])
    assert alone["spread"] is None is alone["effect_size"] and equal["spread"] == 0.0 and equal["effect_size"] is None
    low, high = stats.t.interval(0.95, 2, -2.1, spread / np.sqrt(3))
    assert test["half_width"] == pytest.approx((high - low) / 2)
    assert paired_test(second, first)["difference"] == pytest.approx(2.1)  # not swapped
    with pytest.raises(ValueError):
        paired_test(first, second[:2])


@pytest.mark.parametrize(
    "p_values, corrected",
    [
        # Holm 1979's rule by hand: 4 × 0.005, 3 × 0.01, then 2 × 0.03, which 0.04 may not undercut.
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.02, 0.02, 0.9], [0.06, 0.06, 0.9]),  # ties
        ([0.5, 0.6], [1.0, 1.0]),
        ([0.03], [0.03]),
        ([], []),
    ],
)
def test_holm(p_values: list[float], corrected: list[float]) -> None:
    assert holm(p_values) == pytest.approx(corrected)


def test_holm_is_the_closed_test() -> None:
    """Each corrected p is the largest Bonferroni p over all sets of hypotheses that contain it (Marcus et al. 1976)."""
    p_values = np.random.default_rng(0).uniform(0, 0.3, 5).tolist()
    subsets = [s for size in range(1, 6) for s in itertools.combinations(range(5), size)]
    closed = [max(min(1.0, len(s) * min(p_values[j] for j in s)) for s in subsets if i in s) for i in range(5)]
    assert holm(p_values) == pytest.approx(closed)


@pytest.mark.parametrize("tests, seeds", [(1, 6), (2, 7), (4, 8), (10, 9), (66, 12)])
def test_seeds_that_can_be_significant(tests: int, seeds: int) -> None:
    assert least_seeds(tests) == seeds
    assert tests * least_p(seeds) < LEVEL <= tests * least_p(seeds - 1)
    assert sign_flip_p([1.0] * seeds) == least_p(seeds)


def test_tests_are_turned_to_a_reference() -> None:
    test = {"norms": ["sn", "msn"], **paired_test([12.0, 11.0, 13.0], [10.0, 9.5, 10.2])}
    ((same,), (turned,)) = (differences_from([test], arm) for arm in ("sn", "msn"))
    assert same == test and turned["norms"] == ["msn", "sn"] and differences_from([test], "bn") == []
    for key in ("difference", "effect_size", "differences"):
        assert np.asarray(turned[key]) == pytest.approx(-np.asarray(test[key]))
    assert (turned["p"], turned["half_width"]) == (test["p"], test["half_width"])
