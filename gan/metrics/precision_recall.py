"""Precision, recall, density and coverage of generated features relative to real ones.

The real manifold is the union of balls around the real images, each with the distance to the k-th nearest other real
image as its radius; the generated manifold likewise. float64, ties count as within.

Kynkäänniemi et al. 2019, "Improved Precision and Recall Metric for Assessing Generative Models", arXiv 1904.06991,
equations 1 and 2. Precision: the fraction of generated images within the real manifold. Recall: the fraction of real
images within the generated manifold. Swapping real and generated swaps the two numbers.

Naeem et al. 2020, "Reliable Fidelity and Diversity Metrics for Generative Models", arXiv 2002.09797. Density: the
number of real balls that a generated image is in, on average, divided by k; it may exceed 1. Coverage: the fraction
of real balls with a generated image in them. Both are about the real manifold alone, so that outliers among the
generated images do not inflate them.

The papers use features of VGG-16; here the protocol of a score names the extractor. torchmetrics has none of them.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from gan.metrics.distances import Features, blocks, on_device, squared_distances

_BLOCK = 1024  # rows and columns of a block of distances: 8 MiB


NEIGHBOURS = 3
"""The k of precision and recall."""

DENSITY_NEIGHBOURS = 5
"""The k of density and coverage, as in their paper."""


class ManifoldScores(NamedTuple):
    """Scores of generated images against the real manifold."""

    precision: float
    """In [0, 1], as recall and coverage."""
    recall: float
    density: float
    """At least 0; about 1 for images of the real distribution."""
    coverage: float


def manifold_scores(
    real: Features,
    generated: Features,
    *,
    neighbours: int = NEIGHBOURS,
    density_neighbours: int = DENSITY_NEIGHBOURS,
    device: torch.device | str = "cpu",
    advance: Callable[[int], object] = lambda count: None,
    real_nearest: Tensor | None = None,
) -> ManifoldScores:
    """Precision, recall, density and coverage from one pass over the distances, in blocks.

    Args:
        real, generated: features (N1, D) and (N2, D); may be memory-mapped, or on the device.
        neighbours, density_neighbours: the k of the k-th nearest neighbour of precision and recall, and of density and
            coverage; an image is not its own neighbour.
        device: of the matrix products; it must support float64.
        advance: called with the number of rows after each row of blocks; 2 N1 + N2 in all, N1 + N2 with `real_nearest`.
        real_nearest: `nearest_distances` of the real features, for the larger k at least, to reuse them.

    Raises:
        ValueError: a set has no more than k images, or the dimensions differ.
    """
    if real.shape[1] != generated.shape[1]:
        raise ValueError(f"features of different dimensions: {real.shape[1]} real, {generated.shape[1]} generated")
    most = max(neighbours, density_neighbours)
    if len(real) <= most or len(generated) <= neighbours:
        raise ValueError(f"{most} neighbours need more images than {len(real)} real, {len(generated)} generated")
    real, generated = on_device(real, device), on_device(generated, device)
    if real_nearest is None:
        real_nearest = nearest_distances(real, most, device, advance)
    radii = real_nearest[:, neighbours - 1, None].to(device)  # (N1, 1)
    density_radii = real_nearest[:, density_neighbours - 1, None].to(device)  # (N1, 1)
    generated_radii = nearest_distances(generated, neighbours, device, advance)[:, -1].to(device)  # (N2,)

    within_real = torch.zeros(len(generated), dtype=torch.bool, device=device)
    within_generated = torch.zeros(len(real), dtype=torch.bool, device=device)
    covered = torch.zeros(len(real), dtype=torch.bool, device=device)
    count = torch.zeros((), dtype=torch.int64, device=device)  # pairs of a real ball and a generated image in it
    for rows, x in blocks(real, _BLOCK):
        for columns, y in blocks(generated, _BLOCK):
            distances = squared_distances(x, y)  # (B1, B2)
            within_real[columns] |= (distances <= radii[rows]).any(dim=0)
            within_generated[rows] |= (distances <= generated_radii[columns]).any(dim=1)
            inside = distances <= density_radii[rows]
            covered[rows] |= inside.any(dim=1)
            count += inside.sum()
        advance(len(x))
    density = int(count) / (density_neighbours * len(generated))
    precision, recall, coverage = (float(part.double().mean()) for part in (within_real, within_generated, covered))
    return ManifoldScores(precision, recall, density, coverage)


def precision_recall(
    real: Features, generated: Features, neighbours: int = NEIGHBOURS, *, device: torch.device | str = "cpu"
) -> tuple[float, float]:
    """Precision and recall alone: see `manifold_scores`."""
    scores = manifold_scores(real, generated, neighbours=neighbours, density_neighbours=neighbours, device=device)
    return scores.precision, scores.recall


def nearest_distances(
    features: Features,
    count: int,
    device: torch.device | str = "cpu",
    advance: Callable[[int], object] = lambda count: None,
) -> Tensor:
    """Squared distances (N, count), ascending, of each image to its nearest others in the same set.

    Those beyond the number of others are infinite. Each pair of blocks is computed once, for the images of both: row i
    of blocks takes the columns i, i + 1, ... up to half of all blocks, cyclically, so that all rows are equal work.
    """
    features = on_device(features, device)
    starts = range(0, len(features), _BLOCK)
    nearest = torch.full((len(features), count), torch.inf, dtype=torch.float64, device=device)
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
    return nearest.sort(dim=1).values.cpu()


def _keep_nearest(nearest: Tensor, distances: Tensor) -> None:
    """Update the k smallest distances `nearest` (B1, k) with distances (B1, B2)."""
    closer = (distances.amin(dim=1) < nearest.amax(dim=1)).nonzero()[:, 0]  # few rows, after the first blocks
    candidates = torch.cat((nearest[closer], distances[closer]), dim=1)
    nearest[closer] = candidates.topk(nearest.shape[1], dim=1, largest=False).values
