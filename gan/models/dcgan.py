"""DCGAN generator and discriminator for 32, 48, 64 and 128 pixels.

The 32-pixel pair is from the MSN paper's code (arXiv 1907.04003) and, with a linear stem, from table 3 of Miyato et al.
2018 (arXiv 1802.05957). Larger images add stages, up to eight times the width in channels.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from gan.models.blocks import DiscriminatorNorm, ProjectionHead, batch_norm
from gan.nn.convolutions import Conv2d, ConvTranspose2d
from gan.norm import Normalized

# resolution -> size of the smallest map; each stage doubles the size
BOTTOM = {32: 4, 48: 6, 64: 4, 128: 4}
WIDTH = 64
SLOPE = 0.1  # negative slope of the discriminator's LeakyReLU


def stage_channels(resolution: int, width: int) -> list[int]:
    """Channels of the maps, from the largest map to the smallest: width * (1, 2, 4, 8, 8, ...)."""
    stages = (resolution // BOTTOM[resolution]).bit_length()
    return [width * min(2**stage, 8) for stage in range(stages)]


class DCGANGenerator(nn.Module):
    """Latents (N, latent_dim), and labels (N,) if `classes` is not 0, to images (N, channels, R, R) in [-1, 1].

    Args:
        resolution: a key of `BOTTOM`.
        channels: 1 or 3.
        latent_dim: length of z.
        width: channels of the largest hidden map; None for the published 64.
        classes: number of classes of conditional batch norm; 0 for none.
        linear_stem: start with a linear layer (Miyato et al.) instead of a transposed convolution, BN and ReLU.
    """

    def __init__(
        self,
        resolution: int,
        channels: int = 3,
        latent_dim: int = 128,
        width: int | None = None,
        classes: int = 0,
        *,
        linear_stem: bool = False,
    ) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        bottom = BOTTOM[resolution]
        first, *rest = reversed(stage_channels(resolution, width or WIDTH))
        self.shape = (first, bottom, bottom)
        self.linear = _initialize(nn.Linear(latent_dim, first * bottom**2)) if linear_stem else None
        stages = []
        if not linear_stem:
            stem = ConvTranspose2d(latent_dim, first, bottom, bias=False)
            stages.append(Normalized(_initialize(stem), batch_norm(first, classes)))
        last = first
        for out in rest:
            conv = ConvTranspose2d(last, out, 4, stride=2, padding=1, bias=False)
            stages.append(Normalized(_initialize(conv), batch_norm(out, classes)))
            last = out
        self.stages = nn.ModuleList(stages)
        self.to_image = _initialize(ConvTranspose2d(last, channels, 3, padding=1))
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d) and module.affine:
                nn.init.normal_(module.weight, 1.0, 0.02)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        condition = () if labels is None else (labels,)
        if self.linear is None:
            h = z[:, :, None, None]  # (N, latent_dim) -> (N, latent_dim, 1, 1)
        else:
            h = self.linear(z).unflatten(1, self.shape)  # (N, C*b*b) -> (N, C, b, b)
        for stage in self.stages:
            h = F.relu(stage(h, *condition), inplace=True)
        return self.to_image(h).tanh()


class DCGANDiscriminator(nn.Module):
    """Images (N, channels, R, R) in [-1, 1], and labels (N,) if `classes` is not 0, to logits (N,).

    Alternating 3×3 convolutions of stride 1 and 4×4 ones of stride 2, and a last 3×3; each with norm and LeakyReLU.

    Args:
        resolution: a key of `BOTTOM`.
        channels: 1 or 3.
        width: channels of the first maps; None for the published 64.
        classes: number of classes of the projection; 0 for none.
        normalize: normalizes the convolutions and the output layer.
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
        stages = stage_channels(resolution, width or WIDTH)
        layers, last = [], channels
        for out in stages[:-1]:
            layers.append(normalize.hidden(_initialize(Conv2d(last, out, 3, padding=1))))
            layers.append(normalize.hidden(_initialize(Conv2d(out, out, 4, stride=2, padding=1))))
            last = out
        layers.append(normalize.hidden(_initialize(Conv2d(last, stages[-1], 3, padding=1))))
        self.layers = nn.ModuleList(layers)
        linear = nn.Linear(stages[-1] * BOTTOM[resolution] ** 2, 1)
        nn.init.zeros_(linear.bias)
        self.head = ProjectionHead(linear, classes, normalize)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        h = images
        for layer in self.layers:
            h = F.leaky_relu(layer(h), SLOPE)
        return self.head(h.flatten(1), labels)  # (N, C, b, b) -> (N, C*b*b)


def _initialize(layer: nn.Module) -> nn.Module:
    """Draw weights from N(0, 0.02²) as in DCGAN (Radford et al. 2016); zero the bias, as m of MSN starts at 0."""
    assert isinstance(layer.weight, Tensor)
    nn.init.normal_(layer.weight, 0.0, 0.02)
    if isinstance(layer.bias, Tensor):
        nn.init.zeros_(layer.bias)
    return layer
