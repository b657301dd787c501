"""DenseNet-BC (Huang et al. 2017, arXiv 1608.06993) whose batch norm any normalization really replaces.

With batch norm a dense layer is BN, ReLU, conv 1x1, BN, ReLU, conv 3x3, and the first BN normalizes the concatenation
of all maps that came before. Every number that a ReLU is given has been normalized, and so it is here under each norm:

* `bn`, `ln` and `in` normalize what they are given by its own statistics, and stand where batch norm does.
* `sn` and `wn` change a convolution's weight; `mean` and `msn` centre what it gives. Those belong to the convolution:
  each map is normalized once, where it is made, and concatenated as it is. The first convolution of the network is
  normalized like the others, as batch norm sees its maps too.

So in the second case each map needs its ReLU once, not once for each layer that reads it: the maps are kept after the
ReLU, which is the same function at less work. A ReLU is all that stands between the concatenation and the next
convolution then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan.norm import NORMS

GROWTH = 12
BLOCKS = (16, 16, 16)
BOTTLENECK = 4
COMPRESSION = 0.8
INITIAL = 24

# Norms that stand before the ReLU and read the concatenation, made for its channels.
BEFORE: dict[str, Callable[[int], nn.Module]] = {
    "bn": nn.BatchNorm2d,
    "ln": lambda channels: nn.GroupNorm(1, channels),
    "in": lambda channels: nn.InstanceNorm2d(channels, affine=True),
}


class DenseLayer(nn.Module):
    """Maps (N, inputs, H, W) that are ready for a convolution to the maps that it adds, (N, growth, H, W)."""

    def __init__(self, norm: str, inputs: int, growth: int, bottleneck: int) -> None:
        super().__init__()
        self.ready = _ready(norm, inputs)
        self.narrow = NORMS[norm].hidden(_convolution(inputs, bottleneck * growth, 1))
        self.wide = _read_later(norm, _convolution(bottleneck * growth, growth, 3))

    def forward(self, maps: Tensor) -> Tensor:
        return self.wide(F.relu(self.narrow(self.ready(maps)), inplace=True))


class DenseBlock(nn.Module):
    """Layers of which each reads all maps before it. (N, inputs, H, W) -> (N, inputs + layers * growth, H, W).

    Where norms stand behind convolutions, maps are given and taken after their ReLU, else before their norm and ReLU.
    """

    def __init__(self, norm: str, inputs: int, layers: int, growth: int, bottleneck: int) -> None:
        super().__init__()
        self.activated = norm not in BEFORE
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

    The pool comes before the convolution, with which it commutes, and with its centering: a quarter of the work.
    """

    def __init__(self, norm: str, inputs: int, outputs: int) -> None:
        super().__init__()
        self.ready = _ready(norm, inputs)
        self.narrow = _read_later(norm, _convolution(inputs, outputs, 1))

    def forward(self, maps: Tensor) -> Tensor:
        return self.narrow(F.avg_pool2d(self.ready(maps), 2))


class DenseNet(nn.Module):
    """Images (N, channels, R, R) to maps (N, F, 1, 1), the means over all positions.

    Args:
        norm: a name in `gan.norm.NORMS`.
        channels: of the images.
        growth: maps that each layer adds.
        blocks: layers of each dense block.
        bottleneck: channels between a layer's two convolutions, as a multiple of `growth`.
        compression: share of the maps that a transition keeps.
        initial: maps of the first convolution.
    """

    def __init__(
        self,
        norm: str,
        channels: int,
        *,
        growth: int = GROWTH,
        blocks: Sequence[int] = BLOCKS,
        bottleneck: int = BOTTLENECK,
        compression: float = COMPRESSION,
        initial: int = INITIAL,
    ) -> None:
        super().__init__()
        self.stem = _read_later(norm, _convolution(channels, initial, 3))
        stages: list[nn.Module] = []
        last = initial
        for number, layers in enumerate(blocks):
            if number:
                stages.append(Transition(norm, last, int(last * compression)))
                last = int(last * compression)
            stages.append(DenseBlock(norm, last, layers, growth, bottleneck))
            last += layers * growth
        self.stages = nn.ModuleList(stages)
        self.ready = _ready(norm, last)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.stem(images)
        for stage in self.stages:
            maps = stage(maps)
        return F.adaptive_avg_pool2d(self.ready(maps), 1)


def _ready(norm: str, channels: int) -> nn.Module:
    """From concatenated maps to what a convolution reads: norm and ReLU, or nothing where both were applied before."""
    return nn.Sequential(BEFORE[norm](channels), nn.ReLU()) if norm in BEFORE else nn.Identity()


def _read_later(norm: str, conv: nn.Conv2d) -> nn.Module:
    """A convolution whose maps others read: they normalize them, or it is normalized itself."""
    if norm not in BEFORE:
        return NORMS[norm].hidden(conv)
    conv.register_parameter("bias", None)  # the norms that read it have a shift
    return conv


def _convolution(inputs: int, outputs: int, kernel: int) -> nn.Conv2d:
    """Weights of He et al. 2015 (arXiv 1502.01852), as in the paper."""
    conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    return conv
