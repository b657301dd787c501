"""Precision and recall of generated features relative to real ones.

Kynkäänniemi et al. 2019, "Improved Precision and Recall Metric for Assessing Generative Models", arXiv 1904.06991,
equations 1 and 2. Precision: the fraction of generated images within the real manifold. Recall: the fraction of real
images within the generated manifold. A manifold is the union of balls around its images, each with the distance to the
k-th nearest neighbour as its radius. Swapping real and generated swaps the two numbers. float64.

The paper uses features of VGG-16; here the protocol of a score names the extractor. torchmetrics has no such metric.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from gan.metrics.distances import Features, blocks, on_device, squared_distances

_BLOCK = 1024  # rows and columns of a block of distances: 8 MiB


def precision_recall(
    real: Features,
    generated: Features,
    neighbours: int = 3,
    *,
    device: torch.device | str = "cpu",
    advance: Callable[[int], object] = lambda count: None,
    real_radii: Tensor | None = None,
) -> tuple[float, float]:
    """Precision and recall, each in [0, 1].

    Args:
        real, generated: features (N1, D) and (N2, D); may be memory-mapped, or on the device.
        neighbours: the k of the k-th nearest neighbour; an image is not its own neighbour.
        device: of the matrix products; it must support float64.
        advance: called with the number of rows after each row of blocks; 2 N1 + N2 in all, N1 + N2 with `real_radii`.
        real_radii: `radii` of the real features for this k, to reuse them for several sets.

    Raises:
        ValueError: a set has no more than k images, or the dimensions differ.
    """
    if real.shape[1] != generated.shape[1]:
        raise ValueError(f"features of different dimensions: {real.shape[1]} real, {generated.shape[1]} generated")
    if min(len(real), len(generated)) <= neighbours:
        raise ValueError(f"{neighbours} neighbours need more images than {len(real)} real, {len(generated)} generated")
    real, generated = on_device(real, device), on_device(generated, device)
    if real_radii is None:
        real_radii = radii(real, neighbours, device, advance)
    generated_radii = radii(generated, neighbours, device, advance)

    within_real = torch.zeros(len(generated), dtype=torch.bool)
    within_generated = torch.zeros(len(real), dtype=torch.bool)
    for rows, x in blocks(real, _BLOCK):
        for columns, y in blocks(generated, _BLOCK):
            distances = squared_distances(x, y)  # (B1, B2)
            within_real[columns] |= (distances <= real_radii[rows, None].to(device)).any(dim=0).cpu()
            within_generated[rows] |= (distances <= generated_radii[columns].to(device)).any(dim=1).cpu()
        advance(len(x))
    return float(within_real.double().mean()), float(within_generated.double().mean())


def radii(
    features: Features,
    neighbours: int,
    device: torch.device | str = "cpu",
    advance: Callable[[int], object] = lambda count: None,
) -> Tensor:
    """Squared distance (N,) of each image to its k-th nearest neighbour in the same set.

    Each pair of blocks is computed once, for the images of both: row i of blocks takes the columns i, i + 1, ... up to
    half of all blocks, cyclically, so that all rows are equal work.
    """
    features = on_device(features, device)
    starts = range(0, len(features), _BLOCK)
    nearest = torch.full((len(features), neighbours), torch.inf, dtype=torch.float64, device=device)
    for row, (rows, x) in enumerate(blocks(features, _BLOCK)):
        for shift in range(len(starts) // 2 + 1):
            column = (row + shift) % len(starts)
            if 2 * shift == len(starts) and column < row:
                continue  # already computed in the row of the opposite block
            columns = slice(starts[column], starts[column] + _BLOCK)
            distances = squared_distances(x, features[columns].double())
            if shift:
                _keep_nearest(nearest[columns], distances.T)
            else:
                distances.fill_diagonal_(torch.inf)  # not its own neighbour
            _keep_nearest(nearest[rows], distances)
        advance(len(x))
    return nearest.amax(dim=1).cpu()


def _keep_nearest(nearest: Tensor, distances: Tensor) -> None:
    """Update the k smallest distances `nearest` (B1, k) with distances (B1, B2)."""
    closer = (distances.amin(dim=1) < nearest.amax(dim=1)).nonzero()[:, 0]  # few rows, after the first blocks
    candidates = torch.cat((nearest[closer], distances[closer]), dim=1)
    nearest[closer] = candidates.topk(nearest.shape[1], dim=1, largest=False).values
