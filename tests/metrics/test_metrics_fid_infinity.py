"""FID∞ against known Gaussians, and its interval against the spread over draws."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from gan.metrics.fid_infinity import SUBSETS, _influences, fid_infinity, subset_sizes
from gan.metrics.frechet import covariance_factor, frechet_distance, frechet_distance_to_covariance
from gan.metrics.moments import FeatureMoments

Array = NDArray[np.float64]
D = 8


def _gaussian(rng: np.random.Generator, mean: float) -> tuple[Array, Array]:
    """Mean (D,) and covariance factor (D, D)."""
    root = rng.normal(size=(D, D)) / D**0.5
    return np.full(D, mean), covariance_factor(np.eye(D) + root @ root.T)


def _draw(rng: np.random.Generator, gaussian: tuple[Array, Array], count: int) -> NDArray[np.float32]:
    return (gaussian[0] + rng.normal(size=(count, D)) @ gaussian[1].T).astype(np.float32)


def _fid(real: tuple[Array, Array], features: NDArray[np.float32]) -> float:
    sample = features.astype(np.float64)
    return frechet_distance(*real, sample.mean(0), covariance_factor(np.cov(sample, rowvar=False)))


@pytest.mark.parametrize("mean", [0.0, 0.3])
def test_it_has_no_bias_and_its_interval_covers_the_true_fid(mean: float) -> None:
    rng = np.random.default_rng(0)
    real = _gaussian(rng, 0.0)
    generated = _gaussian(rng, mean) if mean else real
    true = frechet_distance(*real, *generated)
    samples = [_draw(rng, generated, 400) for _ in range(150)]
    found = [fid_infinity(*real, sample, seed=seed) for seed, sample in enumerate(samples)]
    fids = np.array([each.fid for each in found])
    error = fids.std(ddof=1) / len(fids) ** 0.5
    assert abs(fids.mean() - true) < 3 * error
    assert np.mean([_fid(real, sample) for sample in samples]) - true > 6 * error  # FID itself is biased
    covered = np.mean([abs(each.fid - true) <= each.interval for each in found])
    assert 0.9 <= covered <= 0.995  # 95 % but for 150 draws


def test_the_fast_distance_equals_frechet_distance() -> None:
    rng = np.random.default_rng(1)
    real = _gaussian(rng, 0.0)
    for count in (200, D - 2):  # the second covariance is singular
        features = _draw(rng, real, count).astype(np.float64)
        expected = _fid(real, features.astype(np.float32))
        found = frechet_distance_to_covariance(*real, features.mean(0), np.cov(features, rowvar=False))
        assert found == pytest.approx(expected, abs=1e-6)


def test_influences_are_the_derivative_of_the_fid() -> None:
    """The FID of a sample in which one image has a little more weight."""
    rng = np.random.default_rng(2)
    real = _gaussian(rng, 0.0)
    features = _draw(rng, _gaussian(rng, 0.5), 60)
    moments = FeatureMoments(D)
    moments.update(features)
    changes = _influences(*real, features, moments)
    assert abs(changes.mean()) < 1e-2 * np.abs(changes).max()  # 0, but for the divisor N - 1
    sample, step = features.astype(np.float64), 1e-5

    def weighted(extra: float) -> float:
        weights = (1 - extra) * np.full(60, 1 / 60) + extra * (np.arange(60) == 7)
        mean = weights @ sample
        covariance = (sample - mean).T @ ((sample - mean) * weights[:, None]) * 60 / 59
        return frechet_distance_to_covariance(*real, mean, covariance)

    slope = (weighted(step) - weighted(-step)) / (2 * step)
    assert slope == pytest.approx(changes[7], rel=0.03)  # the divisor N - 1 again


def test_subsets_and_seed() -> None:
    assert subset_sizes(50_000)[:2].tolist() == [5000, 8214] and len(subset_sizes(50_000)) == SUBSETS
    assert subset_sizes(1000)[[0, -1]].tolist() == [500, 1000]
    rng = np.random.default_rng(3)
    real, steps = _gaussian(rng, 0.0), []
    features = _draw(rng, real, 100)
    first = fid_infinity(*real, features, seed=0, advance=steps.append)
    assert steps == [1] * SUBSETS
    assert fid_infinity(*real, features, seed=0) == first != fid_infinity(*real, features, seed=1)


def test_bad_features_are_refused() -> None:
    real = _gaussian(np.random.default_rng(4), 0.0)
    with pytest.raises(ValueError, match="at least 4"):
        fid_infinity(*real, np.zeros((3, D), np.float32), seed=0)
    with pytest.raises(ValueError, match="8 real, 5 generated"):
        fid_infinity(*real, np.zeros((9, 5), np.float32), seed=0)
