"""Exponential moving average (EMA) of a generator's weights, used for samples and scores."""

import copy

import torch
from torch import nn


class ExponentialMovingAverage:
    """Exponential moving average of a network, with a half-life in images and a ramp-up at the start.

    The half-life is min(half_life, rampup * images seen), as in NVlabs' StyleGAN2 training loop, so that the first
    weights are forgotten quickly. Floating-point buffers (the running statistics of batch norm) are averaged like
    weights, integer buffers are copied.

    Args:
        network: the network to average; `network` of this object is a copy of it in evaluation mode.
        half_life: in images; 0 makes the average a plain copy of the newest weights.
        rampup: the half-life is at most this share of the images seen.
    """

    def __init__(self, network: nn.Module, half_life: float, rampup: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.half_life = half_life
        self.rampup = rampup
        self._source: nn.Module | None = None
        # Pairs of lists: tensors of the average, and the same tensors of the source.
        self._averaged: tuple[list[torch.Tensor], list[torch.Tensor]] = ([], [])
        self._copied: tuple[list[torch.Tensor], list[torch.Tensor]] = ([], [])

    @torch.no_grad()
    def update(self, network: nn.Module, batch: int, images_seen: int, scheduled: float | None = None) -> None:
        """Move the average towards `network`, trained on `batch` more images and `images_seen` in all.

        Args:
            scheduled: half-life of this update, in images, in place of that of the constructor and its bound: a
                schedule that rises from 0 needs no ramp-up.
        """
        half_life = min(self.half_life, self.rampup * images_seen) if scheduled is None else scheduled
        decay = 0.5 ** (batch / half_life) if half_life > 0 else 0.0
        if network is not self._source:  # listing the tensors takes longer than a GPU needs for the update
            self._source = network
            self._averaged = (_tensors(self.network, floating=True), _tensors(network, floating=True))
            self._copied = (_tensors(self.network, floating=False), _tensors(network, floating=False))
        torch._foreach_lerp_(*self._averaged, 1 - decay)
        if self._copied[0]:
            torch._foreach_copy_(*self._copied)


def _tensors(network: nn.Module, *, floating: bool) -> list[torch.Tensor]:
    tensors = [*network.parameters(), *network.buffers()]
    return [tensor for tensor in tensors if tensor.is_floating_point() == floating]
