"""R3GAN's generator and discriminator for 32, 64, 128 and 256 pixels (Huang et al. 2024, arXiv 2501.05441, section 3).

Stages of residual blocks of 1×1, grouped 3×3 and 1×1 convolutions, like those of ResNeXt but without a norm: the
weights start small, and the last layer of a block at 0, as in Fixup. Each stage has twice the resolution of the one
before (in the discriminator half), resampled with the filter [1, 2, 1]. Numbers not in the paper are those of the
authors' code.

The full norm of the discriminator's hidden layers is applied to the two convolutions of a block that are followed by an
activation. All other layers get only its weight map, as an output layer does: no activation follows them, so centering
them would remove the mean logit of a batch.
"""

import math
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gan.errors import UsageError
from gan.models.blocks import DiscriminatorNorm
from gan.nn.convolutions import Conv2d
from gan.nn.resampling import Upsample2d, downsample

L = TypeVar("L", nn.Linear, nn.Conv2d)

WIDTHS = {
    32: (8, 8, 8, 8),
    64: (8, 8, 8, 8, 4),
    128: (8, 8, 8, 8, 4, 2),
    256: (8, 8, 8, 8, 4, 2, 1),
}
"""Width of each stage in eighths of the width, from 4×4 pixels up; that of 128 pixels is between the authors' two."""
WIDTH = 768
BLOCKS = 2
"""Residual blocks of a stage."""
BOTTOM = 4  # side of the smallest map
EXPANSION = 2
GROUP = 16
"""Channels of a group of the 3×3 convolutions: the cardinality is an eighth of a stage's width."""
SLOPE = 0.2  # negative slope of LeakyReLU


def stage_widths(resolution: int, width: int | None, flag: str) -> tuple[int, ...]:
    """Channels of the stages, from 4×4 pixels up.

    Raises:
        UsageError: a width, given by `flag`, that the groups of a stage do not divide.
    """
    width = width or WIDTH
    eighths = WIDTHS[resolution]
    unit = GROUP // EXPANSION * 8 // min(eighths)
    if width % unit:
        raise UsageError(f"{flag} {width}: --network r3gan at {resolution} pixels needs a multiple of {unit}")
    return tuple(width * eighth // 8 for eighth in eighths)


class ResidualBlock(nn.Module):
    """x + conv1(act(conv3(act(conv1(x))))), twice as wide within: (N, C, H, W) to the same shape.

    Args:
        depth: number of residual blocks of the network, L; the first two convolutions start with the standard deviation
            √(2 / (1 + 0.2²)) L^(-1/4) / √(fan-in).
        norm: of a discriminator.
    """

    def __init__(self, channels: int, depth: int, norm: DiscriminatorNorm | None = None) -> None:
        super().__init__()
        wide = EXPANSION * channels
        gain = math.sqrt(2 / (1 + SLOPE**2)) * depth ** (-1 / 4)
        # The bias of a convolution is the bias before its activation in the paper's figure.
        self.expand = _hidden(_normal(Conv2d(channels, wide, 1), gain), norm)
        self.grouped = _hidden(_normal(Conv2d(wide, wide, 3, padding=1, groups=wide // GROUP), gain), norm)
        self.project = _last(Conv2d(wide, channels, 1, bias=False), norm)

    def forward(self, x: Tensor) -> Tensor:
        h = F.leaky_relu(self.expand(x), SLOPE)
        h = F.leaky_relu(self.grouped(h), SLOPE)
        return x + self.project(h)


class Upsample(nn.Module):
    """A 1×1 convolution where the width changes, then twice the resolution: (N, C_in, H, W) to (N, C_out, 2H, 2W)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.convolution = _normal(Conv2d(inputs, outputs, 1, bias=False)) if inputs != outputs else nn.Identity()
        self.upsample = Upsample2d()

    def forward(self, x: Tensor) -> Tensor:
        return self.upsample(self.convolution(x))


class Downsample(nn.Module):
    """Half the resolution, then a 1×1 convolution where the width changes: (N, C_in, H, W) to (N, C_out, H/2, W/2)."""

    def __init__(self, inputs: int, outputs: int, norm: DiscriminatorNorm) -> None:
        super().__init__()
        self.convolution: nn.Module = nn.Identity()
        if inputs != outputs:
            self.convolution = norm.output(_normal(Conv2d(inputs, outputs, 1, bias=False)))

    def forward(self, x: Tensor) -> Tensor:
        return self.convolution(downsample(x))


class R3GANGenerator(nn.Module):
    """Latents (N, latent_dim), and labels (N,) if `classes` is not 0, to images (N, channels, R, R).

    Without a tanh the images may leave the range [-1, 1] somewhat, as the authors' do; they are clipped where they are
    saved or scored.

    Arguments as `DCGANGenerator`, but `resolution` is a key of `WIDTHS` and `width` that of the 4×4 stage, 768 as
    published; labels are embedded in `latent_dim` numbers, which are joined to z.

    Raises:
        UsageError: see `stage_widths`.
    """

    def __init__(
        self, resolution: int, channels: int = 3, latent_dim: int = 64, width: int | None = None, classes: int = 0
    ) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        widths = stage_widths(resolution, width, "--g-width")
        depth = BLOCKS * len(widths)
        self.basis = nn.Parameter(torch.randn(widths[0], BOTTOM, BOTTOM))
        self.linear = _normal(nn.Linear(latent_dim * (2 if classes else 1), widths[0], bias=False))
        blocks: list[nn.Module] = []
        for stage, channels_out in enumerate(widths):
            blocks += [Upsample(widths[stage - 1], channels_out)] if stage else []
            blocks += [ResidualBlock(channels_out, depth) for _ in range(BLOCKS)]
        self.blocks = nn.Sequential(*blocks)
        self.to_image = _normal(Conv2d(widths[-1], channels, 1, bias=False))
        self.embedding = _embedding(classes, latent_dim) if classes else None

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        if self.embedding is not None:
            z = torch.cat([z, self.embedding(labels).to(z.dtype)], 1)
        h = self.basis.to(z.dtype) * self.linear(z)[:, :, None, None]  # (C, 4, 4) * (N, C, 1, 1) -> (N, C, 4, 4)
        return self.to_image(self.blocks(h.contiguous(memory_format=torch.channels_last)))


class R3GANDiscriminator(nn.Module):
    """Images (N, channels, R, R) in [-1, 1], and labels (N,) if `classes` is not 0, to logits (N,).

    Arguments as `DCGANDiscriminator`, but `resolution` is a key of `WIDTHS` and `width` that of the 4×4 stage, 768 as
    published. With labels the logit is the inner product of the features and an embedding of the label. The
    hidden convolutions are numbered block by block: the first 1×1, then the 3×3.

    Raises:
        UsageError: see `stage_widths`.
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
        widths = stage_widths(resolution, width, "--d-width")[::-1]
        depth, last = BLOCKS * len(widths), widths[-1]
        stages = []
        for stage, own in enumerate(widths):
            layers: list[nn.Module] = []
            if stage == 0:
                layers.append(normalize.output(_normal(Conv2d(channels, own, 1, bias=False))))
            layers += [ResidualBlock(own, depth, normalize) for _ in range(BLOCKS)]
            if stage < len(widths) - 1:
                layers.append(Downsample(own, widths[stage + 1], normalize))
            stages.append(nn.Sequential(*layers))
        self.blocks = nn.ModuleList(stages)
        self.basis = normalize.output(_normal(Conv2d(last, last, BOTTOM, groups=last, bias=False)))
        self.linear = normalize.output(_normal(nn.Linear(last, last if classes else 1, bias=False)))
        self.embedding = None
        if classes:
            self.embedding = normalize.output(_embedding(classes, last, gain=1 / math.sqrt(last)))

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        h = images
        for block in self.blocks:
            h = block(h)
        features = self.linear(self.basis(h).flatten(1))  # (N, C, 4, 4) -> (N, C)
        if self.embedding is None:
            return features.squeeze(1)  # (N, 1) -> (N,)
        return (features * self.embedding(labels)).sum(1)


def _hidden(layer: nn.Module, norm: DiscriminatorNorm | None) -> nn.Module:
    return layer if norm is None else norm.hidden(layer)


def _last(layer: nn.Conv2d, norm: DiscriminatorNorm | None) -> nn.Module:
    """The last convolution of a block, with zero weights unless a norm maps its weight.

    A weight map such as W/σ(W) has no value at 0, and its result does not depend on the scale of the weight, so that
    a small start cannot be expressed. Under one, the weights have the variance 1/fan-in, as those of other layers.
    """
    layer = _normal(layer)
    normalized = layer if norm is None else norm.output(layer)
    if not parametrize.is_parametrized(layer):
        nn.init.zeros_(layer.weight)
    return normalized


def _normal(layer: L, gain: float = 1.0) -> L:
    """Draw weights from N(0, gain² / fan-in); zero the bias."""
    nn.init.normal_(layer.weight, std=gain / math.sqrt(layer.weight[0].numel()))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def _embedding(classes: int, size: int, gain: float = 1.0) -> nn.Embedding:
    """Embedding of labels, drawn as the authors' linear layer of one-hot labels, whose fan-in is `classes`."""
    embedding = nn.Embedding(classes, size)
    nn.init.normal_(embedding.weight, std=gain / math.sqrt(classes))
    return embedding
