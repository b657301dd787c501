"""A norm of one's own, for `--norm sn+benchmarks/remembered_mean.py:remembered_mean`: MSN without the batch's means

MSN subtracts the mean of the batch in training, so images of a batch affect each other, and real and generated images
as separate batches lose the difference of their means. Here the running mean, a constant without gradient, is
subtracted in training too, so images stay apart. No gradient then holds the means, which drift away
(docs/results/normalizations.md).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_MOMENTUM = 0.1  # as in MSN


class RememberedMean(nn.Module):
    """h − running mean of h, per channel, after a layer that keeps its bias.

    In training, each pass subtracts the mean as it was before, and then moves it towards that of the batch.
    """

    running_mean: Tensor  # (C,)

    def __init__(self, layer: nn.Conv2d | nn.Linear) -> None:
        super().__init__()
        self.layer = layer
        self.register_buffer("running_mean", layer.weight.new_zeros(len(layer.weight)))

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.layer(x)
        mean = self.running_mean.clone()
        if self.training:
            with torch.no_grad():
                dimensions = [dimension for dimension in range(h.dim()) if dimension != 1]
                self.running_mean.lerp_(h.mean(dimensions, dtype=mean.dtype), _MOMENTUM)
        return h - mean.to(h.dtype).view(-1, *(1,) * (h.dim() - 2))


def remembered_mean(layer: nn.Conv2d | nn.Linear) -> nn.Module:
    """The layer with its running mean subtracted."""
    return RememberedMean(layer)


remembered_mean.pools = True  # type: ignore[attr-defined]  # a mean over positions commutes with it
