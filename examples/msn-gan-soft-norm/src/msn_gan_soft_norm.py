"""W / max(1, σ(W)): spectral normalization only where σ(W) is above 1."""

import torch
from torch import nn
from torch.nn.functional import normalize
from torch.nn.utils.parametrize import register_parametrization


class SoftSpectralNorm(nn.Module):
    def __init__(self, weight):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.register_buffer("v", torch.randn(weight[0].numel(), generator=generator).to(weight))
        self.iterate(weight)

    def iterate(self, weight):  # one step of power iteration
        matrix = weight.flatten(1)
        self.v.copy_(normalize(matrix.T @ (matrix @ self.v), dim=0))

    def forward(self, weight):
        sigma = (weight.flatten(1) * self.v).sum(1).norm()  # ‖Wv‖, in fp32 also under autocast
        return weight / sigma.clamp(min=1)


def soft(layer):
    register_parametrization(layer, "weight", SoftSpectralNorm(layer.weight.detach()))
    return layer
