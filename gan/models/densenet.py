"""DenseNet-BC (Huang et al. 2017, arXiv 1608.06993) with any normalization in place of batch norm.

With batch norm a dense layer is BN, ReLU, conv 1x1, BN, ReLU, conv 3x3, and the first BN normalizes the concatenation
of all previous maps. Every input of a ReLU is normalized. That holds under each norm:

* `bn`, `ln`, `in` and `group` normalize their input by its own statistics, and replace batch norm where it is.
* `sn` and `wn` change a convolution's weight; `mean` and `msn` centre its output. They are part of the convolution:
  each map is normalized once, where it is computed, and then concatenated. The first convolution of the network is
  normalized too, since batch norm also normalizes its maps.

In the second case nothing but a ReLU is left between the concatenation and the next convolution. It is applied once per
map, before the concatenation, instead of once for each layer that reads the map: the same function for less work.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import skip_init

from gan.models.blocks import he_convolution, normalized
from gan.norm import Norm, Normalized


class DenseLayer(nn.Module):
    """Norm, ReLU, conv 1x1, norm, ReLU, conv 3x3: maps (N, inputs, H, W) to new maps (N, growth, H, W)."""

    def __init__(self, norm: Norm, inputs: int, growth: int, bottleneck: int) -> None:
        super().__init__()
        self.ready = _norm_and_relu(norm, inputs)
        self.narrow = normalized(norm.hidden, he_convolution(inputs, bottleneck * growth, 1))
        self.wide = _concatenated_convolution(norm, bottleneck * growth, growth, 3)

    def forward(self, maps: Tensor) -> Tensor:
        return self.wide(F.relu(self.narrow(self.ready(maps)), inplace=True))


class DenseBlock(nn.Module):
    """Layers that each read all previous maps. (N, inputs, H, W) -> (N, inputs + layers * growth, H, W).

    The maps are concatenated after their ReLU if the norm follows the convolution, else before their norm and ReLU.
    """

    def __init__(self, norm: Norm, inputs: int, layers: int, growth: int, bottleneck: int) -> None:
        super().__init__()
        self.activated = not _normalizes_input(norm)
        self.layers = nn.ModuleList(
            DenseLayer(norm, inputs + number * growth, growth, bottleneck) for number in range(layers)
        )

    def forward(self, maps: Tensor) -> Tensor:
        if self.activated:
            maps = F.relu(maps)
        for layer in self.layers:
            new = layer(maps)
            maps = torch.cat([maps, F.relu(new, inplace=True) if self.activated else new], 1)
        return maps


class Transition(nn.Module):
    """Norm, ReLU, conv 1x1, mean pool. (N, inputs, H, W) -> (N, outputs, H/2, W/2).

    The pool is applied before the convolution, since it commutes with it and with its centering: a quarter of the work.
    """

    def __init__(self, norm: Norm, inputs: int, outputs: int) -> None:
        super().__init__()
        self.ready = _norm_and_relu(norm, inputs)
        self.narrow = _concatenated_convolution(norm, inputs, outputs, 1)

    def forward(self, maps: Tensor) -> Tensor:
        return self.narrow(F.avg_pool2d(self.ready(maps), 2))


class DenseNet(nn.Module):
    """Images (N, channels, R, R) to maps (N, F, 1, 1), averaged over all positions.

    Args:
        norm: normalizes the maps.
        channels: channels of the images.
        growth: maps added by each layer.
        blocks: number of layers of each dense block.
        bottleneck: channels between a layer's two convolutions, as a multiple of `growth`.
        compression: fraction of the maps kept by a transition.
        initial: maps of the first convolution.
    """

    def __init__(
        self,
        norm: Norm,
        channels: int,
        *,
        growth: int = 12,
        blocks: Sequence[int] = (16, 16, 16),
        bottleneck: int = 4,
        compression: float = 0.8,
        initial: int = 24,
    ) -> None:
        super().__init__()
        self.stem = _concatenated_convolution(norm, channels, initial, 3)
        stages: list[nn.Module] = []
        last = initial
        for number, layers in enumerate(blocks):
            if number:
                stages.append(Transition(norm, last, int(last * compression)))
                last = int(last * compression)
            stages.append(DenseBlock(norm, last, layers, growth, bottleneck))
            last += layers * growth
        self.stages = nn.ModuleList(stages)
        self.ready = _norm_and_relu(norm, last)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.stem(images)
        for stage in self.stages:
            maps = stage(maps)
        return F.adaptive_avg_pool2d(self.ready(maps), 1)


def _normalizes_input(norm: Norm) -> bool:
    """True if a norm divides by statistics of the maps, and replaces batch norm where it is."""
    return norm.feature_norm is not None and not norm.pools


def _norm_and_relu(norm: Norm, channels: int) -> nn.Module:
    """Norm and ReLU of concatenated maps; the identity if both were applied before the concatenation."""
    if not _normalizes_input(norm):
        return nn.Identity()
    assert norm.feature_norm is not None
    maps = skip_init(nn.Conv2d, 1, channels, 1)  # a feature norm is made for the output of a layer
    module = normalized(norm.feature_norm, maps)
    assert isinstance(module, Normalized)
    return nn.Sequential(module.norm, nn.ReLU())


def _concatenated_convolution(norm: Norm, inputs: int, outputs: int, kernel: int) -> nn.Module:
    """A convolution whose maps are concatenated; it is normalized, unless the concatenation is."""
    conv = he_convolution(inputs, outputs, kernel)
    if not _normalizes_input(norm):
        return normalized(norm.hidden, conv)
    conv.register_parameter("bias", None)  # the norm of the concatenation has a shift
    return norm.output(conv)
