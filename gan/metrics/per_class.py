"""FID, precision, recall, density and coverage of each class, from features and labels

Each class is scored as a set of its own: the real images of a class against the generated images of the same class,
with the formulas of `gan.metrics.frechet` and `gan.metrics.precision_recall`. float64.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gan.metrics.frechet import STABLE_COUNT, covariance_factor, frechet_distance
from gan.metrics.moments import FeatureMoments
from gan.metrics.precision_recall import DENSITY_NEIGHBOURS, manifold_scores, precision_recall
from gan.metrics.score_table import CLASS_METRICS
from gan.utils.counted import counted

_MAX_LISTED = 5  # classes named in a warning


@dataclass(frozen=True, eq=False)
class ClassLabels:
    """Labels of real and of generated images, in the order of their features; label k means `classes[k]` in both."""

    classes: tuple[str, ...]
    real: NDArray[np.int64]
    """(N1,), 0 to K - 1 for K classes."""
    generated: NDArray[np.int64]
    """(N2,), likewise."""


@dataclass(frozen=True)
class ClassScores:
    """The scores of one class; a score is None if it was not requested or the class has too few images."""

    name: str
    real_count: int
    """Number of real images of the class."""
    generated_count: int
    """Number of generated images of the class that were scored."""
    fid: float | None = None
    """At least 0, up to rounding."""
    precision: float | None = None
    """Share of the generated images inside the manifold of the real ones, 0 to 1."""
    recall: float | None = None
    """Share of the real images inside the manifold of the generated ones, 0 to 1."""
    density: float | None = None
    """At least 0; see `gan.metrics.precision_recall`."""
    coverage: float | None = None
    """0 to 1."""

    @property
    def fewest(self) -> int:
        """Number of images of the smaller side."""
        return min(self.real_count, self.generated_count)


def class_scores(
    real: NDArray[np.float32],
    generated: NDArray[np.float32],
    labels: ClassLabels,
    metrics: Sequence[str] = CLASS_METRICS,
    *,
    neighbours: int = 3,
    device: str = "cpu",
    advance: Callable[[int], object] = lambda count: None,
) -> list[ClassScores]:
    """Score each class, in the order of `labels.classes`.

    Args:
        real, generated: features (N1, D) and (N2, D); may be memory-mapped.
        labels: classes of all these images.
        metrics: names of metrics; those that are not in CLASS_METRICS are ignored.
        neighbours: the k of precision and recall; a class with no more than k images on a side has neither. One with
            no more than DENSITY_NEIGHBOURS real images has no density and coverage.
        device: of the distances; it must support float64.
        advance: called with 1 after each class.

    Raises:
        ValueError: the numbers of features and labels differ, or a label is not a class number.
    """
    for features, numbers, side in ((real, labels.real, "real"), (generated, labels.generated, "generated")):
        if len(features) != len(numbers):
            raise ValueError(f"{len(features)} {side} features, but {len(numbers)} labels")
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < len(labels.classes):
            raise ValueError(f"{side} labels must be from 0 to {len(labels.classes) - 1}")
    scores = []
    for number, name in enumerate(labels.classes):
        own_real = real[np.flatnonzero(labels.real == number)]
        own_generated = generated[np.flatnonzero(labels.generated == number)]
        fewest, found = min(len(own_real), len(own_generated)), {}
        if "fid" in metrics and fewest >= 2:
            found["fid"] = frechet_distance(*_gaussian(own_real), *_gaussian(own_generated))
        if "pr" in metrics and fewest > neighbours:
            if len(own_real) > DENSITY_NEIGHBOURS:
                manifold = manifold_scores(own_real, own_generated, neighbours=neighbours, device=device)
                found |= manifold._asdict()
            else:
                found["precision"], found["recall"] = precision_recall(
                    own_real, own_generated, neighbours, device=device
                )
        scores.append(ClassScores(name, len(own_real), len(own_generated), **found))
        advance(1)
    return scores


def class_warnings(
    scores: Sequence[ClassScores], dimension: int, metrics: Sequence[str] = CLASS_METRICS, neighbours: int = 3
) -> list[str]:
    """Warnings that classes have too few images, a line each; a class is judged by its smaller side.

    Args:
        scores: of all classes.
        dimension: number of features, D.
        metrics, neighbours: see `class_scores`.
    """
    lines = []
    count = len(scores)
    if "fid" in metrics:
        singular = [row for row in scores if 2 <= row.fewest <= dimension]
        biased = [row for row in scores if dimension < row.fewest < STABLE_COUNT]
        if singular:
            lines.append(
                f"FID of {_listed(singular, count)} is far too high: the covariance of {dimension:,} features is "
                f"singular with {_range(singular)} images; use more than {dimension:,} of each class"
            )
        if biased:
            lines.append(
                f"FID of {_listed(biased, count)} is biased high, from {_range(biased)} images; use at least "
                f"{STABLE_COUNT:,} of each class, and compare equal numbers only"
            )
    if missing := "; ".join(_missing(scores, metrics, neighbours)):
        lines.append(f"Scores of a class shown as -: {missing}")
    return lines


def _gaussian(features: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean (D,) and covariance factor (D, R) of features (N, D)."""
    moments = FeatureMoments(features.shape[1])
    moments.update(features)
    return moments.mean, covariance_factor(moments.covariance)


def _missing(scores: Sequence[ClassScores], metrics: Sequence[str], neighbours: int) -> Iterator[str]:
    """Lines on the classes without a score: the number of images that it needs, and their names."""
    least, least_real = neighbours + 1, max(neighbours, DENSITY_NEIGHBOURS) + 1
    needs = (
        ("fid", "FID needs 2 images", 2, 2),
        ("pr", f"precision and recall need {least} images", least, least),
        ("pr", f"density and coverage need {least_real} real and {least} generated images", least_real, least),
    )
    for metric, text, real, generated in needs:
        classes = [row for row in scores if row.real_count < real or row.generated_count < generated]
        if metric in metrics and classes:
            yield f"{text}, too few in {_listed(classes, len(scores))}"


def _listed(classes: Sequence[ClassScores], count: int) -> str:
    """A part of `count` classes in words, with the first names."""
    if len(classes) == count:
        return f"all {counted(count, 'class')}"
    names = ", ".join(row.name for row in classes[:_MAX_LISTED])
    more = f" and {len(classes) - _MAX_LISTED} more" if len(classes) > _MAX_LISTED else ""
    return f"{counted(len(classes), 'class')} ({names}{more})"


def _range(classes: Sequence[ClassScores]) -> str:
    """The numbers of images of classes, as `12` or `12 to 300`."""
    least, most = min(row.fewest for row in classes), max(row.fewest for row in classes)
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"
