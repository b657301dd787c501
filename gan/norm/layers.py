"""The normalizations on offer, as what they make of a layer."""

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

_LESS = 4  # times as many numbers as a convolution is given it must give, for E[h] to be taken from its input
_FEW = 8  # images of a batch; with fewer, one more image in the convolution costs what the centering does


class Normalized(nn.Module):
    """A layer followed by a normalization of what it gives. `condition` (class labels) goes to the normalization."""

    def __init__(self, layer: nn.Module, norm: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.norm = norm

    def forward(self, x: Tensor, *condition: Tensor) -> Tensor:
        return self.norm(self.layer(x), *condition)


class _CentredByInput(Normalized):
    """A convolution of few input channels and its centering: E[h] is computed from the smaller side.

    A convolution is linear, so the mean of what it gives is what it gives for the mean of its input. Then m − E[h] is
    its bias, and neither a sum nor a shift passes over its maps, which in a network's first layer are the largest.
    """

    def forward(self, x: Tensor, *condition: Tensor) -> Tensor:
        # On a GPU it is the number of kernels that takes time in a small network, not their size.
        if not self.training or len(x) < _FEW or x.device.type != "cpu":
            return super().forward(x, *condition)
        layer, norm = self.layer, self.norm
        assert isinstance(layer, _CONVOLUTIONS) and isinstance(norm, Centering)
        with parametrize.cached():  # one W̄ for both
            weight = _as_used(layer.weight)
            x = _as_used(x)
            with torch.autocast(x.device.type, enabled=False):
                wide = torch.float64 if weight.dtype == torch.float64 else torch.float32
                h = layer._conv_forward(x.mean(0, keepdim=True, dtype=wide), weight.to(wide), None)  # (1, C, ...)
                mean = norm.observed(h.flatten(2).mean((0, 2)))
            return layer._conv_forward(x, weight, (norm.bias - mean).to(weight.dtype))


class Norm(NamedTuple):
    """How one normalization treats a hidden layer, and the output layer. Both take over the layer they are given.

    `pools` says that means of neighbouring positions may be taken before it, for the same result: it shifts a channel
    by its mean or not at all, and scales it by what does not depend on its values.
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
    return Normalized(_without_bias(layer), BATCH_NORMS[_spatial(layer) - 1](_channels(layer)))


def _layer_norm(layer: nn.Module) -> nn.Module:
    # One group: mean and variance over channels and positions, scale and shift per channel.
    return Normalized(layer, nn.GroupNorm(1, _channels(layer)))


def _instance(layer: nn.Module) -> nn.Module:
    if isinstance(layer, nn.Linear):
        # One position per channel has no statistics of its own: normalize over the features of a sample.
        return _layer_norm(layer)
    return Normalized(_without_bias(layer), _INSTANCE_NORMS[_spatial(layer) - 1](_channels(layer), affine=True))


def _mean(layer: nn.Module) -> nn.Module:
    few = isinstance(layer, _CONVOLUTIONS) and _LESS * layer.in_channels * math.prod(layer.stride) <= layer.out_channels
    return (_CentredByInput if few else Normalized)(_without_bias(layer), Centering(_channels(layer)))


def _mean_spectral(layer: nn.Module) -> nn.Module:
    return _mean(_spectral(layer))


def _mean_spectral_affine(layer: nn.Module) -> nn.Module:
    return Normalized(_without_bias(_spectral(layer)), Centering(_channels(layer), scale=True))


# Centering the output layer would erase what it says, so the norms with SN leave SN there, the others nothing.
NORMS: dict[str, Norm] = {
    "none": Norm(_plain, _plain),
    "bn": Norm(_batch, _plain, pools=False),
    "ln": Norm(_layer_norm, _plain, pools=False),
    "in": Norm(_instance, _plain, pools=False),
    "wn": Norm(_weight_norm, _weight_norm),
    "mean": Norm(_mean, _plain),
    "sn": Norm(_spectral, _spectral),
    "msn": Norm(_mean_spectral, _spectral),
    "msn-affine": Norm(_mean_spectral_affine, _spectral),
}


def _as_used(tensor: Tensor) -> Tensor:
    """A tensor in the type that a convolution uses it in, which under autocast is another."""
    kind = tensor.device.type
    return tensor.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else tensor


def _output_dim(layer: nn.Module) -> int:
    """The dimension of a layer's weight that counts its output channels."""
    return 1 if isinstance(layer, TRANSPOSED) else 0


def _spatial(layer: nn.Module) -> int:
    """How many dimensions the normalization of a layer is made for; a linear layer counts as one."""
    return 1 if isinstance(layer, nn.Linear) else len(_checked(layer).kernel_size)


def _channels(layer: nn.Module) -> int:
    return layer.out_features if isinstance(layer, nn.Linear) else _checked(layer).out_channels


def _checked(layer: nn.Module) -> _ConvNd:
    if not isinstance(layer, _ConvNd):
        raise TypeError(f"a normalized layer is a convolution or linear, not {type(layer).__name__}")
    return layer


def _without_bias(layer: nn.Module) -> nn.Module:
    """Drop a bias that the normalization after it would cancel or replaces."""
    layer.register_parameter("bias", None)
    return layer
