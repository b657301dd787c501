"""Means and their 95 % intervals."""

from __future__ import annotations

import math

import pytest
from scipy import stats

from gan.utils.confidence import confidence_interval, mean_text


def test_against_scipy() -> None:
    values = [0.81, 0.84, 0.79, 0.86]
    found = confidence_interval(values)
    low, high = stats.t.interval(0.95, 3, loc=sum(values) / 4, scale=stats.sem(values))
    assert (found.mean - found.half, found.mean + found.half) == pytest.approx((low, high), rel=1e-12)


def test_two_runs() -> None:
    # The table of Student's t has 12.706 for one degree of freedom.
    assert confidence_interval([1.0, 3.0]).half == pytest.approx(12.706 * math.sqrt(2) / math.sqrt(2), rel=1e-4)


def test_text_of_few_and_of_several_runs() -> None:
    """An interval of two or three seeds would be as wide as `84 ± 48`: their range is shown instead."""
    assert mean_text([1.0, 3.0]) == "2.00 (1.00 to 3.00)"
    assert mean_text([3.0, 1.0, 2.0], 1) == "2.0 (1.0 to 3.0)"
    assert mean_text([1.0, 2.0, 3.0, 4.0]) == f"2.50 ± {confidence_interval([1.0, 2.0, 3.0, 4.0]).half:.2f}"
    assert mean_text([0.5], 3) == "0.500"


def test_one_run_has_no_interval() -> None:
    assert confidence_interval([0.5]) == (0.5, None)


def test_no_runs() -> None:
    with pytest.raises(ValueError, match="no values"):
        confidence_interval([])
