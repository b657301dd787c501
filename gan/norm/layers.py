"""The table of normalizations: functions that add a normalization to a layer."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import weight_norm

from .centering import Centering
from .spectral import SpectralNorm

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, *TRANSPOSED)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_INSTANCE_NORMS = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)

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
        # On a GPU the number of kernels takes the time in a small network, not their size.
        if not self.training or len(x) < _MIN_BATCH or x.device.type != "cpu":
            return super().forward(x, *condition)
        layer, norm = self.layer, self.norm
        assert isinstance(layer, _CONVOLUTIONS) and isinstance(norm, Centering)
        with parametrize.cached():  # compute W̄ once for both convolutions
            weight = _autocast(layer.weight)
            x = _autocast(x)
            with torch.autocast(x.device.type, enabled=False):
                wide = torch.float64 if weight.dtype == torch.float64 else torch.float32
                h = layer._conv_forward(x.mean(0, keepdim=True, dtype=wide), weight.to(wide), None)  # (1, C, ...)
                mean = norm.batch_mean(h.flatten(2).mean((0, 2)))
            return layer._conv_forward(x, weight, (norm.bias - mean).to(weight.dtype))


class Norm(NamedTuple):
    """Functions that normalize a hidden layer and an output layer; both modify the given layer.

    `pools` is True if a mean over neighbouring positions may come before the norm, for the same result: the norm shifts
    a channel by its mean or not at all, and its scale does not depend on the values.
    """

    hidden: Callable[[nn.Module], nn.Module]
    output: Callable[[nn.Module], nn.Module]
    pools: bool = True


def _plain(layer: nn.Module) -> nn.Module:
    return layer


def _spectral(layer: nn.Module) -> nn.Module:
    weight = layer.weight
    assert isinstance(weight, Tensor)
    norm = SpectralNorm(weight, _output_dim(layer), autocast=isinstance(layer, LAYERS))
    parametrize.register_parametrization(layer, "weight", norm)
    return layer


def _weight_norm(layer: nn.Module) -> nn.Module:
    return weight_norm(layer, dim=_output_dim(layer))


def _batch(layer: nn.Module) -> nn.Module:
    return Normalized(_without_bias(layer), BATCH_NORMS[_spatial_dims(layer) - 1](_channels(layer)))


def _layer_norm(layer: nn.Module) -> nn.Module:
    # One group: mean and variance over channels and positions, scale and shift per channel.
    return Normalized(layer, nn.GroupNorm(1, _channels(layer)))


def _instance(layer: nn.Module) -> nn.Module:
    if isinstance(layer, nn.Linear):
        # A single position per channel has no statistics: normalize over the features of each sample.
        return _layer_norm(layer)
    return Normalized(_without_bias(layer), _INSTANCE_NORMS[_spatial_dims(layer) - 1](_channels(layer), affine=True))


def _mean(layer: nn.Module) -> nn.Module:
    few = isinstance(layer, _CONVOLUTIONS) and (
        _MIN_RATIO * layer.in_channels * math.prod(layer.stride) <= layer.out_channels
    )
    return (_CenteredByInput if few else Normalized)(_without_bias(layer), Centering(_channels(layer)))


def _mean_spectral_affine(layer: nn.Module) -> nn.Module:
    return Normalized(_without_bias(_spectral(layer)), Centering(_channels(layer), scale=True))


# Centering the output layer would erase the mean logit: there, norms with SN apply SN alone, the others nothing.
NORMS: dict[str, Norm] = {
    "none": Norm(_plain, _plain),
    "bn": Norm(_batch, _plain, pools=False),
    "ln": Norm(_layer_norm, _plain, pools=False),
    "in": Norm(_instance, _plain, pools=False),
    "wn": Norm(_weight_norm, _weight_norm),
    "mean": Norm(_mean, _plain),
    "sn": Norm(_spectral, _spectral),
    "msn": Norm(lambda layer: _mean(_spectral(layer)), _spectral),
    "msn-affine": Norm(_mean_spectral_affine, _spectral),
}


def _autocast(tensor: Tensor) -> Tensor:
    """Cast a tensor to the dtype of autocast, if it is enabled, as a convolution does."""
    kind = tensor.device.type
    return tensor.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else tensor


def _output_dim(layer: nn.Module) -> int:
    """Dimension of the output channels in a layer's weight."""
    return 1 if isinstance(layer, TRANSPOSED) else 0


def _spatial_dims(layer: nn.Module) -> int:
    """Number of dimensions (1, 2 or 3) of the norm class for a layer; 1 for a linear layer."""
    return 1 if isinstance(layer, nn.Linear) else len(_convolution(layer).kernel_size)


def _channels(layer: nn.Module) -> int:
    return layer.out_features if isinstance(layer, nn.Linear) else _convolution(layer).out_channels


def _convolution(layer: nn.Module) -> _ConvNd:
    if not isinstance(layer, _ConvNd):
        raise TypeError(f"cannot normalize {type(layer).__name__}: not a convolution or linear layer")
    return layer


def _without_bias(layer: nn.Module) -> nn.Module:
    """Drop the bias, which the normalization after it cancels or replaces."""
    layer.register_parameter("bias", None)
    return layer
