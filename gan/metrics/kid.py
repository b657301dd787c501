"""Kernel Inception distance (KID) between real and generated features.

Bińkowski et al. 2018, "Demystifying MMD GANs", arXiv 1801.01401: the squared maximum mean discrepancy under the kernel
k(x, y) = (x.y / D + 1)^3, estimated without bias from random subsets of m real images x and m generated images y,

    sum_{i != j} (k(x_i, x_j) + k(y_i, y_j)) / (m (m - 1)) - 2 sum_{i, j} k(x_i, y_j) / m^2,

and its mean and standard deviation over the subsets. It is symmetric, except that subsets are drawn from the generated
set first, as torch-fidelity does. float64.

The estimator is that of torchmetrics. Its metric class is not used: it draws subsets without a seed and keeps all
features in memory.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray


def kernel_distance(
    real: NDArray[np.floating],
    generated: NDArray[np.floating],
    subsets: int = 100,
    subset_size: int = 1000,
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
    advance: Callable[[int], object] = lambda count: None,
) -> tuple[float, float]:
    """Mean and standard deviation over subsets of the unbiased estimate, which can be slightly below 0.

    Args:
        real, generated: features (N1, D) and (N2, D); may be memory-mapped.
        subsets: number of subsets drawn.
        subset_size: images from each set, drawn without replacement.
        seed: of the subsets; with torch-fidelity's (2020), its numbers are reproduced.
        device: of the matrix products; it must support float64.
        advance: called with 1 after each subset.

    Raises:
        ValueError: a set is smaller than a subset, a subset has fewer than two images, or the dimensions differ.
    """
    # Imported here because it is slow, and most scores do not need it.
    from torchmetrics.image.kid import poly_mmd

    if real.shape[1] != generated.shape[1]:
        raise ValueError(f"features of different dimensions: {real.shape[1]} real, {generated.shape[1]} generated")
    if not 2 <= subset_size <= min(len(real), len(generated)):
        raise ValueError(
            f"subsets of {subset_size} images; at least 2 and at most {min(len(real), len(generated))} are possible"
        )
    draw = np.random.RandomState(seed)
    values = []
    for _ in range(subsets):
        chosen = [np.sort(draw.choice(len(rows), subset_size, replace=False)) for rows in (generated, real)]
        x, y = (
            torch.from_numpy(np.asarray(rows[index], dtype=np.float64)).to(device)
            for rows, index in zip((generated, real), chosen, strict=True)
        )
        values.append(float(poly_mmd(x, y)))
        advance(1)
    return float(np.mean(values)), float(np.std(values))
