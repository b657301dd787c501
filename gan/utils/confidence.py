"""95 % confidence interval of the mean of a few runs (Student's t)."""

import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import NamedTuple

from scipy.special import stdtrit  # scipy.stats has it too, and takes a second to load

LEAST_RUNS = 4  # of an interval that is shown; with three, t is 4.3, and two say nothing about the spread


class Interval(NamedTuple):
    """A mean and the half-width of its 95 % confidence interval; None for a single value, which has no spread."""

    mean: float
    half: float | None


def mean_text(values: Sequence[float], digits: int = 2) -> str:
    """Mean and spread of a few runs as text: of four or more as `88.12 ± 0.34`, of two or three with their range.

    The range is written as `88.12 (87.90 to 88.40)`; a single run has its value alone.

    Raises:
        ValueError: there are no values.
    """
    mean, half = confidence_interval(values)
    text = f"{mean:.{digits}f}"
    if half is None:
        return text
    if len(values) < LEAST_RUNS:
        return f"{text} ({min(values):.{digits}f} to {max(values):.{digits}f})"
    return f"{text} ± {half:.{digits}f}"


def confidence_interval(values: Sequence[float]) -> Interval:
    """Mean of independent runs and its 95 % confidence interval by Student's t: t(n-1) * s / √n.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("the mean of no values")
    count = len(values)
    if count == 1:
        return Interval(float(values[0]), None)
    quantile = float(stdtrit(count - 1, 0.975))
    return Interval(fmean(values), quantile * stdev(values) / math.sqrt(count))
