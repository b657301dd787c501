"""ResNet generator and discriminator of Miyato et al. 2018 (arXiv 1802.05957, tables 4 to 6) for 32 to 256 pixels.

The channels at 256 pixels are those of BigGAN (Brock et al. 2019, arXiv 1809.11096, appendix B).

Upsampling is nearest neighbour, downsampling a 2×2 mean. Both commute with the 1×1 convolution of a shortcut, which is
applied to the smaller map: the same result for a quarter of the work. The 3×3 convolution after the upsampling and, if
the normalization allows it, before the mean is merged with it (`gan.nn.convolutions`).
"""

import math
from typing import NamedTuple, TypeVar

import torch.nn.functional as F
from torch import Tensor, nn

from gan.models.blocks import DiscriminatorNorm, ProjectionHead, batch_norm
from gan.nn.convolutions import Conv2d, PooledConv2d, UpsampledConv2d
from gan.norm import Normalized

L = TypeVar("L", nn.Linear, Conv2d)


class Shape(NamedTuple):
    """Channels as multiples of the widths. Discriminator blocks halve the map, except the last `plain` ones."""

    bottom: int  # size of the generator's first map
    generator: tuple[int, ...]  # of the first map, then of each block
    generator_width: int
    discriminator: tuple[int, ...]
    plain: int
    discriminator_width: int


SHAPES = {
    32: Shape(4, (1, 1, 1, 1), 256, (1, 1, 1, 1), 2, 128),
    48: Shape(6, (8, 4, 2, 1), 64, (1, 2, 4, 8, 16), 1, 64),
    64: Shape(4, (16, 8, 4, 2, 1), 64, (1, 2, 4, 8, 16), 0, 64),
    128: Shape(4, (16, 16, 8, 4, 2, 1), 64, (1, 2, 4, 8, 16, 16), 1, 64),
    256: Shape(4, (16, 16, 8, 8, 4, 2, 1), 64, (1, 2, 4, 8, 8, 16, 16), 1, 64),
}


class UpBlock(nn.Module):
    """BN, ReLU, upsample, conv, BN, ReLU, conv, plus a shortcut of 1×1 conv, upsample. (N, C, H, W) -> 2H, 2W."""

    def __init__(self, inputs: int, outputs: int, classes: int) -> None:
        super().__init__()
        self.norm = batch_norm(inputs, classes)
        self.conv1 = Normalized(_residual(UpsampledConv2d(inputs, outputs)), batch_norm(outputs, classes))
        self.conv2 = _residual(Conv2d(outputs, outputs, 3, padding=1))
        self.shortcut = _shortcut(inputs, outputs)

    def forward(self, x: Tensor, *condition: Tensor) -> Tensor:
        h = F.relu(self.norm(x, *condition), inplace=True)
        h = F.relu(self.conv1(h, *condition), inplace=True)
        return self.conv2(h) + F.interpolate(self.shortcut(x), scale_factor=2)


class DownBlock(nn.Module):
    """ReLU, conv, ReLU, conv, mean pool; the first block of a discriminator (`optimized`) has no first ReLU.

    The shortcut has a 1×1 conv where channels or size change. (N, C, H, W) -> H/2, W/2 with `down`.
    """

    def __init__(
        self, inputs: int, outputs: int, normalize: DiscriminatorNorm, *, down: bool, optimized: bool = False
    ) -> None:
        super().__init__()
        self.down = down
        self.optimized = optimized
        between = outputs if optimized else inputs  # as in the authors' code; the tables do not specify it
        self.conv1 = normalize.hidden(_residual(Conv2d(inputs, between, 3, padding=1)))
        self.merged = down and normalize.pools  # the second convolution includes the mean over 2×2 pixels
        second = PooledConv2d(between, outputs) if self.merged else Conv2d(between, outputs, 3, padding=1)
        self.conv2 = normalize.hidden(_residual(second))
        learned = down or inputs != outputs
        self.shortcut = normalize.hidden(_shortcut(inputs, outputs)) if learned else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv2(F.relu(self.conv1(x if self.optimized else F.relu(x))))
        if not self.down:
            return h + self.shortcut(x)
        return (h if self.merged else F.avg_pool2d(h, 2)) + self.shortcut(F.avg_pool2d(x, 2))


class ResNetGenerator(nn.Module):
    """Latents (N, latent_dim), and labels (N,) if `classes` is not 0, to images (N, channels, R, R) in [-1, 1].

    Arguments as `DCGANGenerator`, but `resolution` is a key of `SHAPES`, and `width` the unit of the channel counts.
    """

    def __init__(
        self, resolution: int, channels: int = 3, latent_dim: int = 128, width: int | None = None, classes: int = 0
    ) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        shape = SHAPES[resolution]
        first, *rest = (multiple * (width or shape.generator_width) for multiple in shape.generator)
        self.shape = (first, shape.bottom, shape.bottom)
        self.linear = _glorot(nn.Linear(latent_dim, first * shape.bottom**2))
        blocks, last = [], first
        for out in rest:
            blocks.append(UpBlock(last, out, classes))
            last = out
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.BatchNorm2d(last)
        self.to_image = _glorot(Conv2d(last, channels, 3, padding=1))

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        condition = () if labels is None else (labels,)
        h = self.linear(z).unflatten(1, self.shape)  # (N, C*b*b) -> (N, C, b, b)
        for block in self.blocks:
            h = block(h, *condition)
        return self.to_image(F.relu(self.norm(h), inplace=True)).tanh()


class ResNetDiscriminator(nn.Module):
    """Images (N, channels, R, R) in [-1, 1], and labels (N,) if `classes` is not 0, to logits (N,).

    Arguments as `DCGANDiscriminator`, but `resolution` is a key of `SHAPES` and `width` the unit of the channel counts.
    The convolutions are numbered block by block: first, second, shortcut.
    """

    def __init__(
        self,
        resolution: int,
        channels: int = 3,
        width: int | None = None,
        classes: int = 0,
        *,
        normalize: DiscriminatorNorm,
    ) -> None:
        super().__init__()
        shape = SHAPES[resolution]
        blocks, last = [], channels
        for index, multiple in enumerate(shape.discriminator):
            out = multiple * (width or shape.discriminator_width)
            down = index < len(shape.discriminator) - shape.plain
            blocks.append(DownBlock(last, out, normalize, down=down, optimized=index == 0))
            last = out
        self.blocks = nn.ModuleList(blocks)
        self.head = ProjectionHead(_glorot(nn.Linear(last, 1)), classes, normalize)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        h = images
        for block in self.blocks:
            h = block(h)
        return self.head(F.relu(h).sum((2, 3)), labels)  # (N, C, H, W) -> (N, C)


def _residual(layer: Conv2d) -> Conv2d:
    return _glorot(layer, gain=math.sqrt(2))


def _shortcut(inputs: int, outputs: int) -> Conv2d:
    return _glorot(Conv2d(inputs, outputs, 1))


def _glorot(layer: L, gain: float = 1.0) -> L:
    """Draw weights as Glorot & Bengio 2010, uniform; zero the bias."""
    nn.init.xavier_uniform_(layer.weight, gain)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
