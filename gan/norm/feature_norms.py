"""Feature norms: functions that put a normalization of its output after a layer and return both as one module."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from .centering import Centering
from .layer_types import BATCH_NORMS, CONVOLUTIONS, INSTANCE_NORMS, output_channels, spatial_dims

GROUPS = 32  # of group norm, as published

_MIN_RATIO = 4  # of output to input values of a convolution, for E[h] to be computed from its input
_MIN_BATCH = 8  # with fewer images, one more image in the convolution costs as much as the centering


class Normalized(nn.Module):
    """A layer followed by a normalization, to which `condition` (class labels) is passed."""

    def __init__(self, layer: nn.Module, norm: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.norm = norm

    def forward(self, x: Tensor, *condition: Tensor) -> Tensor:
        return self.norm(self.layer(x), *condition)


class _CenteredByInput(Normalized):
    """A convolution with few input channels and its centering, whose E[h] is computed from the mean input.

    A convolution is linear: the mean of its output is its output for the mean input. With m − E[h] as its bias, no sum
    and no shift passes over its output maps, which are the largest of a network in its first layer.
    """

    def forward(self, x: Tensor, *condition: Tensor) -> Tensor:
        # On a GPU the number of kernels takes the time in a small network, not their size. A hook of the layer, such as
        # that of a weight map, needs a call of the layer.
        if not self.training or len(x) < _MIN_BATCH or x.device.type != "cpu" or self.layer._forward_pre_hooks:
            return super().forward(x, *condition)
        layer, norm = self.layer, self.norm
        assert isinstance(layer, CONVOLUTIONS) and isinstance(norm, Centering)
        with parametrize.cached():  # compute W̄ once for both convolutions
            weight = _autocast(layer.weight)
            x = _autocast(x)
            with torch.autocast(x.device.type, enabled=False):
                wide = torch.float64 if weight.dtype == torch.float64 else torch.float32
                h = layer._conv_forward(x.mean(0, keepdim=True, dtype=wide), weight.to(wide), None)  # (1, C, ...)
                mean = norm.batch_mean(h.flatten(2).mean((0, 2)))
            return layer._conv_forward(x, weight, (norm.bias - mean).to(weight.dtype))


def batch_norm(layer: nn.Module) -> nn.Module:
    """Batch norm (Ioffe & Szegedy 2015, arXiv 1502.03167); it replaces the bias of the layer."""
    norm = BATCH_NORMS[spatial_dims(layer) - 1](output_channels(layer), **_like(layer))
    return Normalized(_without_bias(layer), norm)


def layer_norm(layer: nn.Module) -> nn.Module:
    """Layer norm (Ba et al. 2016, arXiv 1607.06450) over channels and positions; scale and shift per channel."""
    return Normalized(layer, nn.GroupNorm(1, output_channels(layer), **_like(layer)))


def group_norm(layer: nn.Module, groups: int | None = None) -> nn.Module:
    """Group norm (Wu & He 2018, arXiv 1803.08494); scale and shift per channel.

    Args:
        groups: number of groups; None: gcd(32, C, ⌊C / 2⌋) of C channels. That is 32, as published, if 64 divides C;
            a group never has a single channel, which would be instance norm.

    Raises:
        ValueError: `groups` does not divide the channels.
    """
    channels = output_channels(layer)
    count = groups or math.gcd(channels, GROUPS, channels // 2)
    if channels % count:
        raise ValueError(f"{count} groups do not divide {channels} channels")
    return Normalized(layer, nn.GroupNorm(count, channels, **_like(layer)))


def instance_norm(layer: nn.Module) -> nn.Module:
    """Instance norm (Ulyanov et al. 2016, arXiv 1607.08022) with scale and shift; it replaces the bias of the layer.

    After a linear layer, whose channels have a single position, it is layer norm.
    """
    if isinstance(layer, nn.Linear):
        return layer_norm(layer)
    norm = INSTANCE_NORMS[spatial_dims(layer) - 1](output_channels(layer), affine=True, **_like(layer))
    return Normalized(_without_bias(layer), norm)


def thrice_differentiable_instance_norm(layer: nn.Module) -> nn.Module:
    """`instance_norm` as group norm with a channel per group: torch differentiates its instance norm only twice."""
    if isinstance(layer, nn.Linear):
        return layer_norm(layer)
    return group_norm(_without_bias(layer), output_channels(layer))


def mean(layer: nn.Module) -> nn.Module:
    """h − E[h] + m (Subramanian & Chong 2019, arXiv 1907.04003, section 3); m replaces the bias of the layer."""
    few = isinstance(layer, CONVOLUTIONS) and (
        _MIN_RATIO * layer.in_channels * math.prod(layer.stride) <= layer.out_channels
    )
    norm = Centering(output_channels(layer), **_like(layer))
    return (_CenteredByInput if few else Normalized)(_without_bias(layer), norm)


def affine_mean(layer: nn.Module) -> nn.Module:
    """γ (h − E[h]) + m, as in the published code of MSN; m replaces the bias of the layer."""
    return Normalized(_without_bias(layer), Centering(output_channels(layer), scale=True, **_like(layer)))


def _like(layer: nn.Module) -> dict[str, Any]:
    """Device and dtype of a layer's parameters, for the parameters and statistics of its norm."""
    parameter = next(layer.parameters())  # not the computed weight: a weight map may not know it yet
    return {"device": parameter.device, "dtype": parameter.dtype}


def _autocast(tensor: Tensor) -> Tensor:
    """Cast a tensor to the dtype of autocast, if it is enabled, as a convolution does."""
    kind = tensor.device.type
    return tensor.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else tensor


def _without_bias(layer: nn.Module) -> nn.Module:
    """Drop the bias, which the normalization after it cancels or replaces."""
    layer.register_parameter("bias", None)
    return layer
