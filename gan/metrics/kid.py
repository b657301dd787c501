"""Kernel Inception distance (KID) between real and generated features.

Bińkowski et al. 2018, "Demystifying MMD GANs", arXiv 1801.01401: the squared maximum mean discrepancy under the kernel
k(x, y) = (x.y / D + 1)^3, estimated without bias from random subsets of m real images x and m generated images y,

    sum_{i != j} (k(x_i, x_j) + k(y_i, y_j)) / (m (m - 1)) - 2 sum_{i, j} k(x_i, y_j) / m^2,

and its mean and standard deviation over the subsets. It is symmetric, except that subsets are drawn from the generated
set first, as torch-fidelity does. float64.

The estimator is that of torchmetrics. Its metric class is not used: it draws subsets without a seed and keeps all
features in memory. Small sets are estimated from all pairs of their images, with the same result up to rounding.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_BLOCK_KERNELS = 2**23  # computed at a time, 64 MB


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
        seed: of the subsets, modulo 2^32; with torch-fidelity's (2020), its numbers are reproduced.
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
    draw = np.random.RandomState(seed % 2**32)
    chosen = [
        [np.sort(draw.choice(len(rows), subset_size, replace=False)) for rows in (generated, real)]
        for _ in range(subsets)
    ]
    if len(real) ** 2 + len(generated) ** 2 + len(real) * len(generated) <= 3 * subsets * subset_size**2:
        values = _from_all_pairs(real, generated, chosen, device, advance)
    else:
        values = []
        for indices in chosen:
            x, y = (
                torch.from_numpy(np.asarray(rows[index], dtype=np.float64)).to(device)
                for rows, index in zip((generated, real), indices, strict=True)
            )
            values.append(float(poly_mmd(x, y)))
            advance(1)
    return float(np.mean(values)), float(np.std(values))


def _from_all_pairs(
    real: NDArray[np.floating],
    generated: NDArray[np.floating],
    chosen: list[list[NDArray[np.intp]]],
    device: torch.device | str,
    advance: Callable[[int], object],
) -> list[float]:
    """The estimate of each subset, from kernels computed once for all pairs of images.

    The subsets of small sets share most of their pairs: 100 subsets of 1,000 of 2,000 images have 25 times as many
    pairs as there are. The kernels of a block of rows are summed for all subsets at once, by a matrix product with
    their indicators.

    Args:
        chosen: indices of the generated and the real images of each subset.
    """
    x, y = (torch.from_numpy(np.asarray(rows, dtype=np.float64)).to(device) for rows in (generated, real))
    members = []  # of each set: 1.0 where a subset has an image, (subsets, N)
    for position, rows in enumerate((x, y)):
        indicators = torch.zeros(len(chosen), len(rows), dtype=torch.float64)
        for subset, indices in enumerate(chosen):
            indicators[subset, torch.from_numpy(indices[position])] = 1.0
        members.append(indicators.to(device))
    size, reported, done = len(chosen[0][0]), 0, 0
    everything = len(x) * len(x) + len(y) * len(y) + len(x) * len(y)

    def pair_sums(first: int, second: int) -> Tensor:
        """Sums of the kernels between the images of each subset, (subsets,)."""
        nonlocal reported, done
        a, b = (x, y)[first], (x, y)[second]
        sums = torch.zeros(len(chosen), dtype=torch.float64, device=device)
        for rows in torch.arange(len(a), device=device).split(max(1, _BLOCK_KERNELS // len(b))):
            kernels = (a[rows] @ b.T / a.shape[1] + 1) ** 3  # (rows, N of b)
            sums += (members[first][:, rows] @ kernels * members[second]).sum(1)
            done += kernels.numel()
            advance(len(chosen) * done // everything - reported)
            reported = len(chosen) * done // everything
        return sums

    within = torch.zeros(len(chosen), dtype=torch.float64, device=device)
    for number, rows in enumerate((x, y)):
        own = members[number] @ (rows.square().sum(1) / rows.shape[1] + 1) ** 3  # k(x_i, x_i), which do not count
        within += (pair_sums(number, number) - own) / (size * (size - 1))
    return [float(value) for value in within - 2 * pair_sums(0, 1) / size**2]
