"""Copies of training images: nearest real images, AuthPct and the data-copying test C_T, on features alone.

`real` are the features of the training images, `held_out` those of real images that were not trained on. Distances are
Euclidean, computed in float64 and in blocks. Functions take squared distances where only their order counts.

AuthPct: authenticity of Alaa et al. 2022, "How Faithful is your Synthetic Data?", arXiv 2102.08921, as a percentage.
C_T: Meehan, Chaudhuri and Dasgupta 2020, "A Non-Parametric Test to Detect Data-Copying in Generative Models", arXiv
2004.05675.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gan.metrics.distances import Features, blocks, on_device, squared_distances

CELLS = 3
"""Cells of C_T: clusters of the training features."""
CELL_IMAGES = 20
"""Generated images that a cell of C_T must have."""

_BLOCK = 1024  # rows and columns of a block of distances: 8 MiB


class Nearest(NamedTuple):
    """The nearest real image of each of M images."""

    indices: Tensor
    """Index of the real image, int64 (M,); the first of several at the same distance."""
    squared_distance: Tensor
    """Squared distance to it, float64 (M,)."""


def nearest(
    real: Features,
    queries: Features,
    *,
    device: torch.device | str = "cpu",
    advance: Callable[[int], object] = lambda count: None,
) -> Nearest:
    """Find the nearest real image of each image of another set.

    Args:
        real, queries: features (N, D) and (M, D); may be memory-mapped, or on the device.
        device: of the matrix products; it must support float64.
        advance: called with the number of queries after each block of them.

    Raises:
        ValueError: one of the sets is empty, or the dimensions differ.
    """
    if real.shape[1] != queries.shape[1]:
        raise ValueError(f"features of different dimensions: {real.shape[1]} real, {queries.shape[1]} of queries")
    if not (len(real) and len(queries)):
        raise ValueError(f"the nearest of {len(real)} real images to {len(queries)} others is not defined")
    real, queries = on_device(real, device), on_device(queries, device)
    found = []
    for _, rows in blocks(queries, _BLOCK):
        found.append(nearest_in((columns for _, columns in blocks(real, _BLOCK)), rows))
        advance(len(rows))
    index, squared_distance = (torch.cat(parts).cpu() for parts in zip(*found, strict=True))
    return Nearest(index, squared_distance)


def nearest_in(real: Iterable[Tensor], queries: Tensor) -> Nearest:
    """Find the nearest row in the blocks of a set, float64 (B, D) each, of each query, float64 (M, D)."""
    index = torch.full((len(queries),), -1, device=queries.device)
    smallest = torch.full((len(queries),), torch.inf, dtype=torch.float64, device=queries.device)
    start = 0
    for block in real:
        distances = squared_distances(queries, block)  # (M, B)
        column = distances.argmin(dim=1)
        distance = distances.gather(1, column[:, None])[:, 0]
        closer = distance < smallest
        smallest = torch.where(closer, distance, smallest)
        index = torch.where(closer, start + column, index)
        start += len(block)
    return Nearest(index, smallest)


def auth_pct(found: Nearest, real_radii: Tensor) -> float:
    """The percentage of authentic images, in [0, 100].

    With t* the nearest training image of a generated image x,

        authentic(x) = 1 if d(x, t*) > d(t*, T without t*), else 0;  AuthPct = 100 * mean of authentic(x).

    A tie is a copy, as in the authors' code; so a copy of a training image that is in the set twice is not authentic.

    It is no score to maximize. A copy of the training set has 0. A new sample of the same distribution is not
    authentic if it and t* are the nearest neighbours of each other, so it has 33 in one dimension, 38 in two, and
    about 50 in many. A sample far from the data has 100.

    Args:
        found: `nearest` of the generated images.
        real_radii: squared distance (N,) of each real image to its nearest other real image.

    Raises:
        ValueError: fewer than 2 real images.
    """
    if len(real_radii) < 2:
        raise ValueError(f"AuthPct needs at least 2 real images, got {len(real_radii)}")
    return 100 * float((found.squared_distance > real_radii[found.indices]).double().mean())


def copying_ratios(found: Nearest, real_radii: Tensor) -> Tensor:
    """d(x, t*) / d(t*, T without t*) of each generated image, float64 (M,), in [0, inf]; authentic images have > 1.

    It is 0 for an exact copy, and infinite near an image that is in the training set twice. Arguments as for
    `auth_pct`.
    """
    ratios = (found.squared_distance / real_radii[found.indices]).sqrt()
    return ratios.masked_fill(found.squared_distance == 0, 0.0)


def fit_cells(real: Features, count: int = CELLS) -> Any:
    """Divide the feature space into cells by k-means of the training features; a fitted sklearn `KMeans`.

    The result depends on the features alone. There are at most as many cells as images.
    """
    from sklearn.cluster import KMeans  # takes a second to import

    array = np.asarray(real.cpu() if isinstance(real, Tensor) else real)
    return KMeans(min(count, len(array)), n_init=10, random_state=0).fit(array)


def mann_whitney_z(held_out: Tensor, generated: Tensor) -> float:
    """Z_U = (U - nm/2) / sqrt(nm(n + m + 1)/12), below 0 if generated images are nearer than held-out ones.

    U counts the pairs in which the generated image is farther from its nearest training image; a tie counts half. The
    deviation is that without ties, and there is no correction for continuity.

    Args:
        held_out, generated: distances (n,) and (m,), or their squares; at least one each.
    """
    from scipy.stats import mannwhitneyu  # takes a second to import

    n, m = len(held_out), len(generated)
    u = mannwhitneyu(generated.numpy(), held_out.numpy(), method="asymptotic").statistic
    return float((u - n * m / 2) / (n * m * (n + m + 1) / 12) ** 0.5)


class CopyingTest(NamedTuple):
    """Result of `copying_test`."""

    ct: float
    """C_T, in standard deviations. Well below 0: copying; well above 0: farther from the data than real images."""
    cells: int
    """Number of cells that it is the mean of; 0: no cell has enough images, and all images are one cell."""


def copying_test(
    held_out: Tensor, generated: Tensor, held_out_cells: NDArray[np.integer], generated_cells: NDArray[np.integer]
) -> CopyingTest:
    """C_T, the mean of Z_U over cells, weighted by the share of the held-out images that a cell has.

        C_T = sum of P(c) Z_U(c) / sum of P(c), over the cells c with at least `CELL_IMAGES` generated images

    where P(c) is the share of held-out images in c, and Z_U(c) is `mann_whitney_z` of the distances in c to the whole
    training set. (The authors' code searches for the nearest training image in the same cell only, which differs at
    borders of cells.) If no such cell has held-out images, Z_U of all images is returned.

    Args:
        held_out, generated: distances to the nearest training image, (n,) and (m,), or their squares.
        held_out_cells, generated_cells: number of the cell of each image, (n,) and (m,).

    Raises:
        ValueError: no held-out or no generated images.
    """
    if not (len(held_out) and len(generated)):
        raise ValueError(f"C_T needs images of both sets, got {len(held_out)} held out and {len(generated)} generated")
    total, weights, used = 0.0, 0, 0
    for cell in np.unique(held_out_cells):
        tested, own = (torch.from_numpy(cells == cell) for cells in (held_out_cells, generated_cells))
        if int(own.sum()) >= CELL_IMAGES:
            weight = int(tested.sum())
            total += weight * mann_whitney_z(held_out[tested], generated[own])
            weights += weight
            used += 1
    return CopyingTest(total / weights, used) if used else CopyingTest(mann_whitney_z(held_out, generated), 0)
