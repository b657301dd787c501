"""Scores of each class: those of the class alone, and in the order of the classes."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from gan.metrics.frechet import covariance_factor, frechet_distance
from gan.metrics.per_class import ClassLabels, ClassScores, class_scores, class_warnings
from gan.metrics.precision_recall import manifold_scores, precision_recall

CLASSES = ("a", "b", "c")


def features(count: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Features (N, 5) whose mean and scale depend on the class, and the labels (N,)."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    rows = rng.normal(size=(count, 5)) * (1 + labels[:, None]) + 3 * labels[:, None]
    return rows.astype(np.float32), labels


def gaussian(rows: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return rows.astype(np.float64).mean(axis=0), covariance_factor(np.cov(rows.astype(np.float64), rowvar=False))


def test_a_class_scores_what_it_scores_alone() -> None:
    (real, real_labels), (generated, labels) = features(300, 0), features(200, 1)
    advanced: list[int] = []
    scores = class_scores(real, generated, ClassLabels(CLASSES, real_labels, labels), advance=advanced.append)
    assert [row.name for row in scores] == list(CLASSES) and advanced == [1, 1, 1]
    for number, row in enumerate(scores):
        own_real, own = real[real_labels == number], generated[labels == number]
        assert (row.real_count, row.generated_count) == (len(own_real), len(own))
        assert row.fid == pytest.approx(frechet_distance(*gaussian(own_real), *gaussian(own)), rel=1e-10)
        manifold = manifold_scores(own_real, own)
        assert (row.precision, row.recall, row.density, row.coverage) == manifold


def test_real_and_generated_are_not_swapped() -> None:
    """Generated images of one mode of a class: precise, but of low recall."""
    real, labels = features(300, 0)
    narrow = real[labels == 2][:1] + np.random.default_rng(1).normal(size=(50, 5)).astype(np.float32) * 0.01
    row = class_scores(real, narrow, ClassLabels(CLASSES, labels, np.full(50, 2)))[2]
    assert row.precision is not None and row.recall is not None
    assert row.precision > 0.9 and row.recall < 0.1 and row.generated_count == 50


def test_only_the_requested_scores() -> None:
    real, labels = features(60, 0)
    fid, pr = (
        class_scores(real, real, ClassLabels(CLASSES, labels, labels), (name, "kid"))[0] for name in ("fid", "pr")
    )
    assert fid.fid == pytest.approx(0, abs=1e-9) and fid.precision is fid.recall is None
    assert pr.fid is None and pr.precision == pr.recall == 1


def test_few_images_of_a_class() -> None:
    """One image has no FID, three have no third neighbour, and no image has neither."""
    real, labels = features(100, 0)
    few = np.array([0, 1, 1, 1])
    one, three, none = class_scores(real, real[:4], ClassLabels(CLASSES, labels, few))
    assert (one.fid, one.precision, one.recall) == (None, None, None)
    assert three.fid is not None and three.precision is three.recall is None
    five = class_scores(real[:5], real, ClassLabels(("a",), np.zeros(5, int), np.zeros(100, int)))[0]
    assert (five.precision, five.recall) == precision_recall(
        real[:5], real, 3
    ) and five.density is five.coverage is None
    assert none == ClassScores("c", int((labels == 2).sum()), 0)
    *_, note = class_warnings([one, three, none], 2)
    assert note == (
        "Scores of a class shown as -: FID needs 2 images, too few in 2 classes (a, c); precision and recall need 4 "
        "images, too few in all 3 classes; density and coverage need 6 real and 4 generated images, too few in all 3 "
        "classes"
    )
    few_generated = class_scores(real[:9], real[:5], ClassLabels(("b",), np.zeros(9, int), np.zeros(5, int)))
    assert few_generated[0].density is not None
    *_, note = class_warnings([ClassScores("a", 5, 5), *few_generated], 2, ("pr",))
    assert note == (
        "Scores of a class shown as -: density and coverage need 6 real and 4 generated images, too few in 1 class (a)"
    )


@pytest.mark.parametrize(
    "count, part",
    [
        (64, "FID of 1 class (b) is far too high: the covariance of 64 features is singular with 64 images"),
        (65, "FID of 1 class (b) is biased high, from 65 images; use at least 2,048"),
        (2047, "FID of 1 class (b) is biased high, from 2,047 images"),
        (2048, None),
    ],
)
def test_warnings_by_the_smaller_side(count: int, part: str | None) -> None:
    for real, generated in ((count, 5000), (5000, count)):
        lines = class_warnings([ClassScores("a", 2048, 2048), ClassScores("b", real, generated)], 64)
        assert not lines if part is None else len(lines) == 1 and lines[0].startswith(part)
    assert not class_warnings([ClassScores("b", 10, 10)], 64, ("pr",))


def test_many_classes_are_not_all_named() -> None:
    scores = [ClassScores(f"c{number}", 3000, 100 if number < 8 else 3000) for number in range(10)]
    assert class_warnings(scores, 64)[0].startswith("FID of 8 classes (c0, c1, c2, c3, c4 and 3 more) is biased high")


@pytest.mark.parametrize("labels", [[0, 1], [0, 1, 3], [-1, 0, 1]])
def test_labels_that_do_not_fit(labels: list[int]) -> None:
    real, numbers = features(20, 0)
    with pytest.raises(ValueError, match="generated"):
        class_scores(real, real[:3], ClassLabels(CLASSES, numbers, np.array(labels)))
