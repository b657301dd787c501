"""Weight maps by name, and matrices of convolutions as linear maps, for the tests of `gan.norm`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from gan.norm import bidirectional_spectral_norm, convolution_spectral_norm, orthogonal, spectral_norm

MAPS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "sn": spectral_norm,
    "sn(gain=1.7)": partial(spectral_norm, gain=1.7),
    "sn(gain=learned)": partial(spectral_norm, gain="learned"),
    "bssn": bidirectional_spectral_norm,
    "bssn(gain=learned)": partial(bidirectional_spectral_norm, gain="learned"),
    "sn-conv": convolution_spectral_norm,
    "sn-conv(gain=0.5)": partial(convolution_spectral_norm, gain=0.5),
    "sn-conv(gain=learned)": partial(convolution_spectral_norm, gain="learned"),
    "orth": orthogonal,
}


def operator_matrix(layer: nn.Module, shape: tuple[int, ...]) -> Tensor:
    """Matrix of a layer without a bias for inputs (C, ...), by applying it to unit vectors."""
    size = torch.Size(shape).numel()
    units = torch.eye(size, dtype=torch.float64).view(size, *shape)
    return layer(units).detach().flatten(1).T


def flattened(weight: Tensor, dim: int) -> Tensor:
    return weight.detach().movedim(dim, 0).flatten(1)


def largest(matrix: Tensor) -> float:
    return torch.linalg.svdvals(matrix)[0].item()
