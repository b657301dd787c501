"""Aggregate the results of trainings over seeds: selection, medians, and confidence intervals of means."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from gan.utils.confidence import confidence_interval

Result = Mapping[str, Any]
"""Result of a training, or a row of a table."""


def select_results(results: Iterable[Result], **values: object) -> list[Result]:
    """Return the results that have all the given values, as `select_results(done, norm="sn", seed=0)`."""
    return [result for result in results if all(result[key] == value for key, value in values.items())]


def median_of(results: Iterable[Result], key: str) -> float | None:
    """Return the median of the values, or None without any; missing values are left out."""
    values = [result[key] for result in results if result.get(key) is not None]
    return median(values) if values else None


def mean_and_half_width(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Return the mean and the half-width of its 95 % confidence interval (Student's t); None where undefined."""
    return confidence_interval(values) if values else (None, None)


def count_fields(results: Sequence[Result], parameters: int, plain_parameters: int) -> dict[str, int]:
    """Return the counts of a table row: `seeds`, how many of them `diverged`, `parameters` and `added_parameters`.

    Args:
        parameters, plain_parameters: of the network with its norm, and without any.
    """
    return {
        "seeds": len(results),
        "diverged": sum(result["diverged"] is not None for result in results),
        "parameters": parameters,
        "added_parameters": parameters - plain_parameters,
    }
