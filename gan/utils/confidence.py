"""95 % confidence interval of the mean of a few runs (Student's t)."""

import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import NamedTuple

from scipy.special import stdtrit  # scipy.stats has it too, and takes a second to load


class Interval(NamedTuple):
    """A mean and the half-width of its 95 % confidence interval; None for a single value, which has no spread."""

    mean: float
    half: float | None

    def text(self, digits: int = 2) -> str:
        """Mean and half-width as `88.12 ± 0.34`."""
        spread = "" if self.half is None else f" ± {self.half:.{digits}f}"
        return f"{self.mean:.{digits}f}{spread}"


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
