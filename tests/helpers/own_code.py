"""A file with a user's own code of each kind, and a file whose import leaves a mark."""

from __future__ import annotations

from pathlib import Path

from tests.helpers.commands import SMALL

SOURCE = """
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm


def norm(layer):
    return weight_norm(layer)


class loss:
    def discriminator(self, real, fake):
        return (real - 1).square().mean() + fake.square().mean()

    def generator(self, real, fake):
        return (fake - 1).square().mean()


class G(nn.Module):
    def __init__(self, resolution, channels, latent_dim, *, width=None, classes=0):
        super().__init__()
        self.shape = (channels, resolution, resolution)
        self.linear = nn.Linear(latent_dim, channels * resolution**2)

    def forward(self, z, labels=None):
        return torch.tanh(self.linear(z)).unflatten(1, self.shape)


class D(nn.Module):
    def __init__(self, resolution, channels, *, width=None, classes=0, normalize=None):
        super().__init__()
        self.conv = normalize.hidden(nn.Conv2d(channels, 4, 4, 4))
        self.out = normalize.output(nn.Linear(4 * (resolution // 4) ** 2, 1))

    def forward(self, x, labels=None):
        return self.out(torch.relu(self.conv(x)).flatten(1)).squeeze(1)


network = (G, D)


def flip(images, uniform):
    return torch.where(uniform[:, :, None, None] < 0.5, images, images.flip(3))


flip.uniforms = 1


class features:
    def __init__(self, device):
        self.projection = torch.randn(48, 6, device=device)

    def __call__(self, images):
        return nn.functional.adaptive_avg_pool2d(images.float() / 255, 4).flatten(1) @ self.projection
"""
FLAGS = {
    "--norm": "own.py:norm",
    "--loss": "own.py:loss",
    "--network": "own.py:network",
    "--augment": "color,own.py:flip",
    "--features": "own.py:features",
}
TRAIN = [*SMALL, "--report-num", "20", "--sample-every", "100"]
MARKER = Path("the-code-has-run")
MARKING = f"open({str(MARKER)!r}, 'w').close()\n"


def words(flags: list[str]) -> list[str]:
    """These flags with their own code, as words of a command line."""
    return [word for flag in flags for word in (flag, FLAGS[flag])]


def write_own(text: str = SOURCE) -> Path:
    path = Path("own.py")
    path.write_text(text)
    return path
