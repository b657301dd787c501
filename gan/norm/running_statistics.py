"""Recompute running statistics with the final weights ("precise" batch norm, Wu and Johnson 2021, arXiv 2105.07576)

In training, the running means and variances of batch norm, and the running means of MSN, are exponential averages over
the last ten batches or so (momentum 0.1). The weights changed meanwhile, so they lag behind; and ten batches give a
noisy estimate.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from .centering import Centering
from .layer_types import BATCH_NORMS


def has_running_statistics(network: nn.Module) -> bool:
    """True if a layer of the network has running statistics."""
    return bool(_layers(network))


@torch.no_grad()
def retake_running_statistics(network: nn.Module, batches: Iterable[tuple[Tensor, ...]]) -> None:
    """Replace the running statistics of a network by the mean of those of whole batches, with its present weights.

    The means of batch norm and of `Centering`, and the variances of batch norm (ddof 1), each with equal weight for
    every batch. Meanwhile only these layers are in training mode. The weights, and the vectors of power iteration, do
    not change; the network keeps its mode and the layers their momentum.

    Args:
        batches: arguments of the network for each forward pass; without any, nothing changes.
    """
    layers = _layers(network)
    momenta = [layer.momentum for layer in layers]
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    for layer in layers:
        layer.train()
    try:
        for count, arguments in enumerate(batches, 1):
            for layer in layers:
                layer.momentum = 1 / count  # the first batch replaces what was there
                if count == 1 and isinstance(layer, BATCH_NORMS):
                    layer.reset_running_stats()  # also its count of batches
            network(*arguments)
    finally:
        for module, mode in modes:
            module.training = mode
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum


def _layers(network: nn.Module) -> list[Any]:
    kinds = (Centering, *BATCH_NORMS)
    return [layer for layer in network.modules() if isinstance(layer, kinds) and layer.running_mean is not None]
