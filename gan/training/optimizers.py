"""The Adam of a GAN's networks, learning rates that a captured step can read, and a network that does not learn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from gan.config.train_config import TrainConfig


def adam(network: nn.Module, rate: float, config: TrainConfig, device: torch.device) -> torch.optim.Adam:
    """Adam with the betas of the run, in its fastest form on the device.

    On CUDA the step count and the rate lie on the device, so that a graph can be made of the update.
    """
    betas = (config.beta1, config.beta2)
    if device.type == "cuda":
        lr = torch.tensor(rate, device=device)
        return torch.optim.Adam(network.parameters(), lr, betas, fused=True, capturable=True)
    return torch.optim.Adam(network.parameters(), rate, betas, fused=device.type == "cpu")


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give all parameters this learning rate: in place where it lies on the device, where a captured step reads it."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Compute no gradients of a network's weights meanwhile, whatever happens: a failed capture must leave it whole."""
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)
