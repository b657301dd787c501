"""FID∞: FID extrapolated to infinitely many generated images, with a confidence interval

Chong and Forsyth 2020, "Effectively Unbiased FID and Inception Score and Where to Find Them", arXiv 1911.07023, section
4: the FID of N generated images is nearly linear in 1/N, so the intercept of a line fitted to the FIDs of subsets of
different sizes has nearly no bias. The real images are taken as they are, without an error of their own.

The paper gives no interval. Ours is that of the delta method: the change of the FID by one image is known in closed
form (`_influences`), and each fitted FID, hence the intercept, is to first order a weighted sum of these changes.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from gan.metrics.frechet import covariance_factor, frechet_distance_to_covariance
from gan.metrics.moments import FeatureMoments
from gan.utils.random_streams import FID_INFINITY, random_stream

SUBSETS = 15
"""Number of subsets, as in the authors' code."""
SMALLEST = 5000
"""Size of the smallest subset, as in the paper; half of the images where there are fewer than twice as many."""

_Z = 1.959964  # 0.975 quantile of the standard normal distribution
_SINGULAR = 1e-7  # relative size of singular values that count as 0; they are square roots of rounded eigenvalues


class FIDInfinity(NamedTuple):
    """An extrapolated FID."""

    fid: float
    """FID∞; it may be negative within its error."""
    interval: float
    """Half-width of its 95 % confidence interval over draws of the generated images."""


def subset_sizes(count: int) -> NDArray[np.int64]:
    """Sizes of the subsets of `count` images, int64 (SUBSETS,), evenly spaced up to all images."""
    return np.linspace(min(SMALLEST, count // 2), count, SUBSETS).round().astype(np.int64)


def smallest_subset(count: int) -> int:
    """Size of the smallest subset."""
    return int(subset_sizes(count)[0])


def fid_infinity(
    real_mean: ArrayLike,
    real_factor: ArrayLike,
    generated: NDArray[np.float32],
    *,
    seed: int,
    advance: Callable[[int], None] = lambda _: None,
) -> FIDInfinity:
    """Extrapolate the FID of generated features.

    Args:
        real_mean, real_factor: (D,) and (D, R), of the real images; see `covariance_factor`.
        generated: features (N, D); at least 2 D + 2 of them, or the covariances of small subsets are singular and the
            FID is not linear in 1/N.
        seed: of the random subsets.
        advance: called with 1 after each subset.

    Raises:
        ValueError: fewer than 4 images, or features of another dimension than the real ones.
    """
    mean, factor = np.asarray(real_mean, np.float64), np.asarray(real_factor, np.float64)
    count, dimension = generated.shape
    if mean.shape != (dimension,) or len(factor) != dimension:
        raise ValueError(f"features of different dimensions: {len(mean)} real, {dimension} generated")
    if count < 4:
        raise ValueError(f"FID∞ needs at least 4 images, got {count}")
    sizes = subset_sizes(count)
    stream = random_stream(seed, FID_INFINITY)
    fids, image_weights = np.empty(SUBSETS), np.zeros(count)
    fit = _intercept_weights(1 / sizes)
    for number, (size, weight) in enumerate(zip(sizes, fit, strict=True)):
        indices = torch.randperm(count, generator=stream)[:size].sort().values.numpy()
        moments = FeatureMoments(dimension)
        for part in np.array_split(indices, -(-size // 1000)):  # features may be a memory-mapped file
            moments.update(generated[part])
        fids[number] = frechet_distance_to_covariance(mean, factor, moments.mean, moments.covariance)
        image_weights[indices] += weight / size
        advance(1)
    # The last subset has all images, so `moments` are those of all.
    changes = _influences(mean, factor, generated, moments)
    deviation = float(np.sqrt(np.square(changes).mean() * np.square(image_weights).sum()))
    return FIDInfinity(float(fit @ fids), _Z * deviation)


def _intercept_weights(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights (K,) whose sum with y is the intercept of the least-squares line through the points (x, y)."""
    centred = x - x.mean()
    weights: NDArray[np.float64] = 1 / len(x) - x.mean() * centred / np.square(centred).sum()
    return weights


def _influences(
    real_mean: NDArray[np.float64],
    real_factor: NDArray[np.float64],
    generated: NDArray[np.float32],
    moments: FeatureMoments,
) -> NDArray[np.float64]:
    """Influence function of the FID at each generated image x, (N,).

    2 (m2 - m1)·(x - m2) + (x - m2)^T (I - A) (x - m2) - tr((I - A) C2), where A is the derivative of 2 tr (C1 C2)^(1/2)
    by C2: the matrix of the optimal transport, A C2 A = C1. From F1^T F2 = U S V^T follows A = F1 U S^-1 U^T F1^T.
    """
    mean, covariance = moments.mean, moments.covariance
    u, s, _ = np.linalg.svd(real_factor.T @ covariance_factor(covariance), full_matrices=False)
    kept = s > _SINGULAR * s.max(initial=0.0)
    transport = (real_factor @ u[:, kept]) / np.sqrt(s[kept])  # A = transport @ transport.T
    constant = np.trace(covariance) - np.einsum("ij,ik,kj->", transport, covariance, transport, optimize=True)
    changes = np.empty(len(generated))
    for rows in np.array_split(np.arange(len(generated)), -(-len(generated) // 1000)):
        x = generated[rows].astype(np.float64) - mean
        squares = np.square(x).sum(1) - np.square(x @ transport).sum(1)
        changes[rows] = 2 * x @ (mean - real_mean) + squares - constant
    return changes
