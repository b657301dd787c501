"""Fréchet distance of two Gaussians fitted to real and to generated features (FID).

Heusel et al. 2017, "GANs Trained by a Two Time-Scale Update Rule", arXiv 1706.08500, equation 6. It is symmetric: real
and generated may be swapped. float64 throughout.

torchmetrics and torch-fidelity compute eigenvalues of the unsymmetric product of the covariances, pytorch-fid its
matrix root: both have errors of up to 1e-4 if a covariance is singular, as it is below D + 1 images, and pytorch-fid's
function fails on SciPy 1.18 and later. So they are not used.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

STABLE_COUNT = 2048  # images; with fewer, FID is unreliable for any network


def covariance_factor(covariance: ArrayLike) -> NDArray[np.float64]:
    """Factor a covariance (D, D) as F F^T, with F (D, R) and R its numerical rank.

    This is the costly half of a Fréchet distance; reuse the factor of the reference for many sets.

    Raises:
        ValueError: the matrix is not square, contains NaN or infinity, or has a clearly negative eigenvalue.
    """
    matrix = np.asarray(covariance, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"a covariance is a square matrix, got shape {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise ValueError("the covariance has values that are not finite")
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    largest = float(values[-1])
    if float(values[0]) < -1e-6 * max(largest, 0.0):
        raise ValueError(f"the covariance has a negative eigenvalue, {values[0]:.3g}")
    positive = values > len(values) * np.finfo(np.float64).eps * largest
    factor: NDArray[np.float64] = vectors[:, positive] * np.sqrt(values[positive])
    return factor


def frechet_distance(
    real_mean: ArrayLike, real_factor: ArrayLike, generated_mean: ArrayLike, generated_factor: ArrayLike
) -> float:
    """Squared Fréchet distance between N(mean, F F^T) of real and generated features; at least 0, up to rounding.

    |m1 - m2|^2 + Tr(C1 + C2 - 2 (C1 C2)^(1/2)), where the trace of the root is the sum of the singular values of
    F1^T F2, since C1 C2 = F1 F1^T F2 F2^T has the nonzero eigenvalues of (F1^T F2)(F1^T F2)^T.

    Args:
        real_mean, generated_mean: (D,).
        real_factor, generated_factor: (D, R1) and (D, R2), from `covariance_factor`.

    Raises:
        ValueError: the dimensions differ.
    """
    m1, f1 = np.asarray(real_mean, dtype=np.float64), np.asarray(real_factor, dtype=np.float64)
    m2, f2 = np.asarray(generated_mean, dtype=np.float64), np.asarray(generated_factor, dtype=np.float64)
    if not (m1.shape == m2.shape == f1.shape[:1] == f2.shape[:1]):
        raise ValueError(f"features of different dimensions: {m1.shape[0]} real, {m2.shape[0]} generated")
    shift = m1 - m2
    root_trace = np.linalg.svd(f1.T @ f2, compute_uv=False).sum() if f1.size and f2.size else 0.0
    return float(shift @ shift + np.square(f1).sum() + np.square(f2).sum() - 2 * root_trace)


def frechet_distance_to_covariance(
    real_mean: NDArray[np.float64],
    real_factor: NDArray[np.float64],
    generated_mean: NDArray[np.float64],
    generated_covariance: NDArray[np.float64],
) -> float:
    """`frechet_distance` without a factor of the second covariance, in a third of its time.

    The root's trace is the sum of the square roots of the eigenvalues of F1^T C2 F1. These are the squares of the
    singular values that `frechet_distance` sums, so those near 0 lose half of their digits; the result differs by about
    1e-7 of the distance.

    Args:
        real_mean, generated_mean: (D,).
        real_factor: (D, R), from `covariance_factor`.
        generated_covariance: (D, D).
    """
    eigenvalues = np.linalg.eigvalsh(real_factor.T @ generated_covariance @ real_factor)
    root_trace = np.sqrt(np.maximum(eigenvalues, 0)).sum()
    shift = real_mean - generated_mean
    return float(shift @ shift + np.square(real_factor).sum() + np.trace(generated_covariance) - 2 * root_trace)


def count_warning(count: int, dimension: int) -> str | None:
    """A warning that FID from this number of images is unreliable, or None if it is large enough."""
    if count <= dimension:
        return (
            f"FID from {count:,} images is far too high: the covariance of {dimension:,} features is singular; use "
            f"more than {dimension:,} images"
        )
    if count < STABLE_COUNT:
        return (
            f"FID from {count:,} images is biased high; use at least {STABLE_COUNT:,}, better 10,000, and compare "
            "equal numbers only"
        )
    return None
