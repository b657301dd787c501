"""The networks of `benchmarks/textbook.py`, built from torch's own layers.

The DCGAN pair of the MSN paper's code (arXiv 1907.04003) and the 32-pixel ResNet pair of Miyato et al. 2018 (arXiv
1802.05957, table 4).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

NORMS = ("none", "bn", "mean", "sn", "msn")


class MeanNorm(nn.Module):
    """Subtract the mean over batch and positions and add m, (N, C, H, W); uses a running mean in evaluation."""

    def __init__(self, channels: int, momentum: float = 0.1) -> None:
        super().__init__()
        self.momentum = momentum
        self.m = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            mean = x.mean((0, 2, 3))
            with torch.no_grad():
                self.running_mean.lerp_(mean, self.momentum)
        else:
            mean = self.running_mean
        return x - mean.view(1, -1, 1, 1) + self.m.view(1, -1, 1, 1)


def conv(norm: str, inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0) -> nn.Conv2d:
    """A convolution of a discriminator, without a bias if the next layer subtracts the mean."""
    return nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=norm in ("none", "sn"))


def after(norm: str, channels: int) -> list[nn.Module]:
    """Return the layers that a norm adds after a convolution."""
    if norm == "bn":
        return [nn.BatchNorm2d(channels)]
    return [MeanNorm(channels)] if norm in ("mean", "msn") else []


def add_spectral_norm(network: nn.Sequential, norm: str) -> nn.Sequential:
    """Add torch's spectral norm to every convolution and linear layer, for sn and msn."""
    if norm in ("sn", "msn"):
        for layer in list(network.modules()):
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                spectral_norm(layer)
    return network


def dcgan_generator(latent_dim: int = 128, width: int = 64, channels: int = 3) -> nn.Sequential:
    """Build a network from latents (N, latent_dim) to images (N, channels, 32, 32) in [-1, 1]."""
    network = nn.Sequential(
        nn.Unflatten(1, (latent_dim, 1, 1)),
        nn.ConvTranspose2d(latent_dim, width * 8, 4, bias=False),
        nn.BatchNorm2d(width * 8),
        nn.ReLU(inplace=True),
        nn.ConvTranspose2d(width * 8, width * 4, 4, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(width * 4),
        nn.ReLU(inplace=True),
        nn.ConvTranspose2d(width * 4, width * 2, 4, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(width * 2),
        nn.ReLU(inplace=True),
        nn.ConvTranspose2d(width * 2, width, 4, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        nn.ConvTranspose2d(width, channels, 3, padding=1),
        nn.Tanh(),
    )
    for layer in network.apply(dcgan_weights):
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02)
    return network


def dcgan_discriminator(norm: str, width: int = 64, channels: int = 3) -> nn.Sequential:
    """Build a network from images (N, channels, 32, 32) in [-1, 1] to logits (N,)."""
    layers: list[nn.Module] = []
    last = channels
    for out, kernel, stride in (
        (width, 3, 1),
        (width, 4, 2),
        (width * 2, 3, 1),
        (width * 2, 4, 2),
        (width * 4, 3, 1),
        (width * 4, 4, 2),
        (width * 8, 3, 1),
    ):
        layers += [conv(norm, last, out, kernel, stride, padding=1), *after(norm, out)]
        layers += [nn.LeakyReLU(0.1, inplace=True)]
        last = out
    layers += [nn.Flatten(), nn.Linear(last * 4 * 4, 1), nn.Flatten(0)]
    return add_spectral_norm(nn.Sequential(*layers).apply(dcgan_weights), norm)


def dcgan_weights(layer: nn.Module) -> None:
    """Initialize convolutions with N(0, 0.02) (Radford et al. 2016) and biases with 0."""
    if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(layer.weight, 0.0, 0.02)
    if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)) and layer.bias is not None:
        nn.init.zeros_(layer.bias)


class GeneratorBlock(nn.Module):
    """BN, ReLU, upsample, conv, BN, ReLU, conv, and a shortcut that upsamples and then convolves."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.shortcut = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = F.interpolate(F.relu(self.norm1(x)), scale_factor=2)
        h = F.relu(self.norm2(self.conv1(h)))
        return self.conv2(h) + self.shortcut(F.interpolate(x, scale_factor=2))


class DiscriminatorBlock(nn.Module):
    """ReLU, conv, ReLU, conv, and a mean pool with `down`; the shortcut convolves and then pools.

    The norm of a shortcut follows the pool, so that BN uses the variance of the pooled map.
    """

    def __init__(self, norm: str, inputs: int, outputs: int, *, down: bool) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.ReLU(),
            conv(norm, inputs, outputs, 3, padding=1),
            *after(norm, outputs),
            nn.ReLU(),
            conv(norm, outputs, outputs, 3, padding=1),
            *after(norm, outputs),
            *([nn.AvgPool2d(2)] if down else []),
        )
        self.shortcut = nn.Identity()
        if down or inputs != outputs:
            pool = [nn.AvgPool2d(2)] if down else []
            self.shortcut = nn.Sequential(conv(norm, inputs, outputs, 1), *pool, *after(norm, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.residual(x) + self.shortcut(x)


class FirstBlock(nn.Module):
    """The first block of a discriminator: no ReLU before the image, and the shortcut pools and then convolves."""

    def __init__(self, norm: str, inputs: int, outputs: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            conv(norm, inputs, outputs, 3, padding=1),
            *after(norm, outputs),
            nn.ReLU(),
            conv(norm, outputs, outputs, 3, padding=1),
            *after(norm, outputs),
            nn.AvgPool2d(2),
        )
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), conv(norm, inputs, outputs, 1), *after(norm, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.residual(x) + self.shortcut(x)


class SumPool(nn.Module):
    """Sum over positions, (N, C, H, W) -> (N, C)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sum((2, 3))


def resnet_generator(latent_dim: int = 128, width: int = 256, channels: int = 3) -> nn.Sequential:
    """Build a network from latents (N, latent_dim) to images (N, channels, 32, 32) in [-1, 1]."""
    network = nn.Sequential(
        nn.Linear(latent_dim, width * 4 * 4),
        nn.Unflatten(1, (width, 4, 4)),
        GeneratorBlock(width, width),
        GeneratorBlock(width, width),
        GeneratorBlock(width, width),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, channels, 3, padding=1),
        nn.Tanh(),
    )
    network.apply(resnet_weights)
    nn.init.xavier_uniform_(network[7].weight)  # gain 1: not a residual convolution
    return network


def resnet_discriminator(norm: str, width: int = 128, channels: int = 3) -> nn.Sequential:
    """Build a network from images (N, channels, 32, 32) in [-1, 1] to logits (N,)."""
    network = nn.Sequential(
        FirstBlock(norm, channels, width),
        DiscriminatorBlock(norm, width, width, down=True),
        DiscriminatorBlock(norm, width, width, down=False),
        DiscriminatorBlock(norm, width, width, down=False),
        nn.ReLU(),
        SumPool(),
        nn.Linear(width, 1),
        nn.Flatten(0),
    )
    return add_spectral_norm(network.apply(resnet_weights), norm)


def resnet_weights(layer: nn.Module) -> None:
    """Initialize with Glorot uniform, with gain √2 in residual convolutions (Miyato et al. 2018)."""
    if isinstance(layer, (nn.Conv2d, nn.Linear)):
        residual = isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3)
        nn.init.xavier_uniform_(layer.weight, math.sqrt(2) if residual else 1.0)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
