from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy
import torch
from numpy.typing import NDArray

from gan.metrics.frechet import count_warning, covariance_factor, frechet_distance

Array = NDArray[np.float64]

_SCIPY = tuple(int(part) for part in scipy.__version__.split(".")[:2])
needs_old_scipy = pytest.mark.skipif(
    _SCIPY >= (1, 18), reason="pytorch-fid 0.3.0 passes sqrtm an argument that SciPy 1.18 removed"
)


def distance(x: Array, y: Array) -> float:
    """Of features, real and generated."""
    fx, fy = (covariance_factor(np.cov(z, rowvar=False)) for z in (x, y))
    return frechet_distance(x.mean(axis=0), fx, y.mean(axis=0), fy)


def two_sets(count: int, dimension: int = 64) -> tuple[Array, Array]:
    """Correlated, positive features of unlike mean and covariance, as a network's are."""
    rng = np.random.default_rng(count)
    mix = rng.standard_normal((2, dimension, dimension)) / dimension**0.5
    x, y = (np.maximum(rng.standard_normal((count, dimension)) @ m + 0.3, 0) for m in mix)
    return x, y


def fid_of_torchmetrics(x: Array, y: Array) -> float:
    fid_module = pytest.importorskip("torchmetrics.image.fid")
    identity = torch.nn.Identity()
    identity.num_features = x.shape[1]
    metric = fid_module.FrechetInceptionDistance(identity).set_dtype(torch.float64)
    metric.update(torch.from_numpy(x), real=True)
    metric.update(torch.from_numpy(y), real=False)
    return float(metric.compute())


def fid_of_torch_fidelity(x: Array, y: Array) -> float:
    metric = pytest.importorskip("torch_fidelity.metric_fid", reason="torch-fidelity is not installed")
    stats = (metric.fid_features_to_statistics(torch.from_numpy(z)) for z in (y, x))
    return float(metric.fid_statistics_to_metric(*stats, False)[metric.KEY_METRIC_FID])


def fid_of_pytorch_fid(x: Array, y: Array) -> float:
    from pytorch_fid.fid_score import calculate_frechet_distance

    statistics = [part for z in (x, y) for part in (z.mean(axis=0), np.cov(z, rowvar=False))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # SciPy announces what 1.18 removed
        return float(calculate_frechet_distance(*statistics))


packages = pytest.mark.parametrize(
    "package",
    [fid_of_torchmetrics, fid_of_torch_fidelity, pytest.param(fid_of_pytorch_fid, marks=needs_old_scipy)],
    ids=["torchmetrics", "torch-fidelity", "pytorch-fid"],
)


@packages
def test_agrees_with_packages(package: object) -> None:
    x, y = two_sets(2500)
    assert distance(x, y) == pytest.approx(package(x, y), rel=0, abs=1e-6)  # type: ignore[operator]


@packages
def test_agrees_with_packages_below_the_dimension(package: object) -> None:
    x, y = two_sets(40)  # theirs lose digits there, see the closed forms below for ours
    assert distance(x, y) == pytest.approx(package(x, y), rel=0, abs=2e-4)  # type: ignore[operator]


@pytest.mark.slow
@packages
def test_agrees_with_packages_at_full_dimension(package: object) -> None:
    x, y = two_sets(3000, 2048)
    assert distance(x, y) == pytest.approx(package(x, y), rel=0, abs=1e-6)  # type: ignore[operator]


@pytest.mark.parametrize("rank", [60, 23, 1])
def test_closed_form_of_commuting_covariances(rank: int) -> None:
    rng = np.random.default_rng(rank)
    basis, _ = np.linalg.qr(rng.standard_normal((60, 60)))
    a, b = rng.uniform(0.1, 3, (2, 60))
    a[rank:] = 0
    b[: 60 - rank] = 0  # of deficient rank, and in other directions
    shift = rng.standard_normal(60)
    expected = shift @ shift + np.square(np.sqrt(a) - np.sqrt(b)).sum()
    factors = [covariance_factor(basis * values @ basis.T) for values in (a, b)]
    assert [factor.shape for factor in factors] == [(60, rank)] * 2
    assert frechet_distance(shift, factors[0], np.zeros(60), factors[1]) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("count", [40, 300])
def test_zero_for_equal_sets_and_symmetric(count: int) -> None:
    x, y = two_sets(count)
    assert distance(x, x) == pytest.approx(0, abs=1e-6)
    assert distance(x, y) == pytest.approx(distance(y, x), rel=1e-12)
    assert distance(x, y) > 1


def test_sets_without_spread() -> None:
    x = np.full((5, 3), 2.0)
    assert covariance_factor(np.zeros((3, 3))).shape == (3, 0)
    assert distance(x, x + 1) == pytest.approx(3)


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        (np.ones((2, 3)), "square"),
        (np.full((2, 2), np.nan), "not finite"),
        (np.diag([1.0, -0.5]), "negative eigenvalue"),
        (np.diag([-1.0, -0.5]), "negative eigenvalue"),
    ],
)
def test_no_covariance(matrix: Array, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        covariance_factor(matrix)


def test_unlike_dimensions() -> None:
    with pytest.raises(ValueError, match="3 real, 2 generated"):
        frechet_distance(np.zeros(3), np.eye(3), np.zeros(2), np.eye(2))


def test_warnings() -> None:
    assert "singular" in (count_warning(2048, 2048) or "")
    assert "biased high" in (count_warning(100, 64) or "")
    assert count_warning(2049, 2048) is None
    assert count_warning(2048, 64) is None
