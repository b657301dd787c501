"""Bidirectional scaled spectral normalization (BSSN), Lin et al. 2021 (arXiv 2009.02773)."""

from __future__ import annotations

import torch
from torch import Tensor

from .spectral import DividedBySigma, Gain, SpectralNorm, iterate_batch


class BidirectionalSpectralNorm(DividedBySigma):
    """Parametrization of a convolution's weight: W̄ = c W / ½ (σ(W as C_out × rest) + σ(W as C_in × rest)).

    Both σ are estimated by power iteration, and the gradient flows through both. With groups, C_in is that of the
    stored weight: the input channels of one group, or the output channels of one for a transposed convolution.

    Args:
        weight: the raw weight of a convolution.
        gain: c, or "learned": a scalar parameter, initially 1.
        autocast: return W̄ in the dtype of autocast, to which a convolution would cast it at each use.
    """

    def __init__(self, weight: Tensor, gain: Gain = 1.0, *, autocast: bool = False) -> None:
        super().__init__(weight, gain, autocast=autocast)
        self.first = SpectralNorm(weight, 0)
        self.second = SpectralNorm(weight, 1)

    def norms(self) -> tuple[SpectralNorm, SpectralNorm]:
        """The two estimates: with the weight's first dimension as rows, and with its second."""
        return self.first, self.second

    @torch.no_grad()
    def iterate(self, weight: Tensor, iterations: int = 1) -> None:
        """Update the vectors of both σ in place, `iterations` times."""
        iterate_batch([(norm, weight) for norm in self.norms()], iterations)

    def estimate(self, weight: Tensor) -> Tensor:
        """Return the mean of both σ, a scalar with a gradient."""
        return (self.first.estimate(weight) + self.second.estimate(weight)) / 2
