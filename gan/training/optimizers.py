"""Adam for a network, learning rates that a captured step can read, and freezing of weights."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from gan.config.train_config import TrainConfig


def adam(network: nn.Module, rate: float, config: TrainConfig, device: torch.device) -> torch.optim.Adam:
    """Adam with the betas of the run, in the fastest implementation for the device.

    On CUDA the step count and the learning rate are tensors on the device, so that the update can be captured.
    """
    betas = (config.beta1, config.beta2)
    if device.type == "cuda":
        lr = torch.tensor(rate, device=device)
        return torch.optim.Adam(network.parameters(), lr, betas, fused=True, capturable=True)
    return torch.optim.Adam(network.parameters(), rate, betas, fused=device.type == "cpu")


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of all parameters; in place if it is a tensor, which a captured step reads."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Compute no gradients of a network's weights within the block, and restore them also if it fails."""
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)
