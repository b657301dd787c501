"""Squared distances between feature vectors, in float64 and block by block"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Features = NDArray[np.floating] | Tensor  # (N, D)


def on_device(features: Features, device: torch.device | str) -> Tensor:
    """Features as a tensor on the device: copied to a GPU as a whole, but on a CPU not read from a file yet."""
    return (features if isinstance(features, Tensor) else torch.from_numpy(features)).to(device)


def blocks(features: Tensor, size: int) -> Iterator[tuple[slice, Tensor]]:
    """Ranges of `size` rows (the last may be shorter), and their features in float64."""
    for start, block in zip(range(0, len(features), size), features.split(size), strict=True):
        yield slice(start, start + len(block)), block.double()


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """Squared distances (B1, B2) between x (B1, D) and y (B2, D), float64.

    Values within rounding of 0, as those of equal images, are 0.
    """
    norms = x.square().sum(dim=1)[:, None] + y.square().sum(dim=1)  # |x|^2 + |y|^2
    distances = norms - 2 * (x @ y.T)
    return distances.masked_fill_(distances <= norms * (64 * torch.finfo(torch.float64).eps), 0.0)
