"""Precision and recall of generated features against real ones.

Kynkäänniemi et al. 2019, "Improved Precision and Recall Metric for Assessing Generative Models", arXiv 1904.06991,
equations 1 and 2. Precision: the share of generated images that lie within the real manifold. Recall: the share of real
images that lie within the generated one. A manifold is the union of balls around its images that reach to their k-th
nearest neighbour. Swapping real and generated swaps the two numbers. float64.

The paper takes its features from VGG-16; a score says which network its own are from. torchmetrics has no such metric.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Features = NDArray[np.floating] | Tensor  # (N, D)

_BLOCK = 1024  # images on either side of a block of distances: 8 MiB


def precision_recall(
    real: Features,
    generated: Features,
    *,
    neighbours: int = 3,
    device: torch.device | str = "cpu",
    advance: Callable[[int], object] = lambda count: None,
    real_radii: Tensor | None = None,
) -> tuple[float, float]:
    """Precision and recall, each in [0, 1].

    Args:
        real: features (N1, D); may be memory-mapped, or on the device.
        generated: features (N2, D); likewise.
        neighbours: the k of the k-th nearest neighbour; an image is not its own neighbour.
        device: does the matrix products; it must know float64.
        advance: called with the number of rows after each row of blocks; 2 N1 + N2 in all, N1 + N2 with `real_radii`.
        real_radii: `radii` of the real features for this k, where several sets are held against them.

    Raises:
        ValueError: a set holds no more than k images, or the dimensions differ.
    """
    if real.shape[1] != generated.shape[1]:
        raise ValueError(f"features of unlike dimension: {real.shape[1]} real, {generated.shape[1]} generated")
    if min(len(real), len(generated)) <= neighbours:
        raise ValueError(f"{neighbours} neighbours need more images than {len(real)} real, {len(generated)} generated")
    real, generated = _held(real, device), _held(generated, device)
    if real_radii is None:
        real_radii = radii(real, neighbours, device, advance)
    generated_radii = radii(generated, neighbours, device, advance)

    within_real = torch.zeros(len(generated), dtype=torch.bool)
    within_generated = torch.zeros(len(real), dtype=torch.bool)
    for rows, x in _blocks(real, device):
        for columns, y in _blocks(generated, device):
            distances = _squared_distances(x, y)  # (B1, B2)
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

    Each pair of blocks is looked at once, for the images of both: row i of blocks takes the columns i, i + 1, ... of
    half a turn, so that all rows are as much work.
    """
    features = _held(features, device)
    spans = _spans(len(features))
    nearest = torch.full((len(features), neighbours), torch.inf, dtype=torch.float64, device=device)
    for row, (rows, x) in enumerate(_blocks(features, device)):
        for turn in range(len(spans) // 2 + 1):
            column = (row + turn) % len(spans)
            if 2 * turn == len(spans) and column < row:
                continue  # the opposite block, which has seen this one
            distances = _squared_distances(x, _block(features, spans[column], device))
            if turn:
                _keep_nearest(nearest[spans[column]], distances.T)
            else:
                distances.fill_diagonal_(torch.inf)  # not its own neighbour
            _keep_nearest(nearest[rows], distances)
        advance(len(x))
    return nearest.amax(dim=1).cpu()


def _keep_nearest(nearest: Tensor, distances: Tensor) -> None:
    """Put into `nearest` (B1, k) what is less among the distances (B1, B2)."""
    closer = (distances.amin(dim=1) < nearest.amax(dim=1)).nonzero()[:, 0]  # soon only few rows
    found = torch.cat((nearest[closer], distances[closer]), dim=1)
    nearest[closer] = found.topk(nearest.shape[1], dim=1, largest=False).values


def _held(features: Features, device: torch.device | str) -> Features:
    """Features on a GPU as a whole, where each block is wanted many times; on a CPU as they are, in a file perhaps."""
    if isinstance(features, Tensor) or torch.device(device).type == "cpu":
        return features
    return torch.from_numpy(np.array(features)).to(device)


def _blocks(features: Features, device: torch.device | str) -> Iterator[tuple[slice, Tensor]]:
    for rows in _spans(len(features)):
        yield rows, _block(features, rows, device)


def _block(features: Features, rows: slice, device: torch.device | str) -> Tensor:
    if isinstance(features, Tensor):
        return features[rows].double()
    return torch.from_numpy(np.asarray(features[rows], dtype=np.float64)).to(device)


def _spans(count: int) -> list[slice]:
    return [slice(start, min(start + _BLOCK, count)) for start in range(0, count, _BLOCK)]


def _squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """(B1, B2) from x (B1, D) and y (B2, D). What is zero but for rounding is made zero: equal images are equal."""
    norms = x.square().sum(dim=1)[:, None] + y.square().sum(dim=1)  # |x|^2 + |y|^2
    distances = norms - 2 * (x @ y.T)
    return distances.masked_fill_(distances <= norms * (64 * torch.finfo(torch.float64).eps), 0.0)
