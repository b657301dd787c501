"""The exact sign-flip test and the sentences that report it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from gan.experiments.compare.paired_test import describe_test, multiplicity_note, paired_test, sign_flip_p


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


def test_paired_numbers() -> None:
    first, second = [12.0, 11.0, 13.0], [10.0, 9.5, 10.2]
    test = paired_test(first, second)
    assert test["difference"] == pytest.approx(-2.1) and test["seeds"] == 3
    assert test["differences"] == pytest.approx([-2.0, -1.5, -2.8])
    assert test["p"] == 0.25 == test["least_p"]
    spread = np.std([-2.0, -1.5, -2.8], ddof=1)
    assert test["effect_size"] == pytest.approx(-2.1 / spread)
    low, high = stats.t.interval(0.95, 2, -2.1, spread / np.sqrt(3))
    assert test["half_width"] == pytest.approx((high - low) / 2)
    assert paired_test(second, first)["difference"] == pytest.approx(2.1)  # not swapped
    with pytest.raises(ValueError):
        paired_test(first, second[:2])


def test_words() -> None:
    def words(first: list[float], second: list[float], **options: float) -> str:
        return describe_test(paired_test(first, second), "FID", ("sn", "msn"), 1, **options)

    assert words([12.0, 11.0, 13.0], [10.0, 9.2, 10.7]) == (  # its 95 % interval would exclude 0
        "msn's FID is lower by 2.0 than sn's over 3 seeds, with differences from -2.3 to -1.8 (exact sign-flip test "
        "p = 0.25, the smallest possible with 3 seeds). Fewer than 4 seeds do not support a conclusion."
    )
    assert words([10.0, 11.0], [10.5, 10.2], factor=2).startswith(
        "msn's FID is lower by 0.3 than sn's over 2 seeds, with differences from -1.6 to 1.0 (exact sign-flip"
    )
    assert words([12.0, 11.0, 13.0, 12.0], [10.0, 9.2, 10.7, 10.0]) == (
        "msn's FID is lower by 2.0 ± 0.3 than sn's over 4 seeds (exact sign-flip test p = 0.125, "
        "the smallest possible with 4 seeds)."
    )
    assert words([10.0, 11.0, 13.0, 10.0], [10.5, 10.2, 13.6, 10.0]) == (
        "No difference in FID that 4 seeds can show: msn's is higher by 0.1 ± 1.0 than sn's "
        "(exact sign-flip test p = 1)."
    )
    many = words([10.0] * 7, [10.0 + number / 10 for number in range(1, 8)], factor=10)
    assert many == "msn's FID is higher by 4.0 ± 2.0 than sn's over 7 seeds (exact sign-flip test p = 0.0156)."
    assert words([2.0], [3.0]) == "msn's FID is higher by 1.0 than sn's, from one seed: no interval and no test."
    assert words([2.0, 2.0], [2.0, 2.0]) == "No difference in FID over 2 seeds: msn's equals sn's."


def test_several_tests_are_said_to_be_several() -> None:
    of_one = multiplicity_note([{"primary": number == 0} for number in range(6)])
    assert of_one.startswith(
        "Tested: final FID. The other 5 of the 6 rows are not corrected for multiple testing: some of their intervals"
    )
    of_grid = multiplicity_note([{"primary": number % 6 == 0} for number in range(36)])
    assert (
        "final FID under each of the 6 settings. The other 30 of the 36 rows are not corrected for multiple testing"
        in of_grid
    )
    assert of_grid.endswith("The tests of final FID are not corrected either.")
