"""DiffAugment: random changes that D sees on real and on generated images alike, and that G's gradient flows through.

Zhao et al. 2020, "Differentiable Augmentation for Data-Efficient GAN Training", arXiv 2006.10738, with the strengths of
their published code. Each change is a function of uniform numbers that are given, so a step can be repeated.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

_SHIFT = 1 / 8  # of a side, the farthest that an image is moved
_HOLE = 1 / 2  # of a side, the side of the square that is cut out


def color(images: Tensor, uniform: Tensor) -> Tensor:
    """Brightness by up to ±½, saturation times 0 to 2, contrast times ½ to 1½. `uniform` is (N, 3)."""
    brightness, saturation, contrast = (value.view(-1, 1, 1, 1) for value in uniform.unbind(1))
    images = images + (brightness - 0.5)
    grey = images.mean(1, keepdim=True)
    images = (images - grey) * (2 * saturation) + grey
    mean = images.mean((1, 2, 3), keepdim=True)
    return (images - mean) * (contrast + 0.5) + mean


def translation(images: Tensor, uniform: Tensor) -> Tensor:
    """Move by whole pixels, up to an eighth of a side in either direction; zeros come in. `uniform` is (N, 2)."""
    rows, columns = (_shifted(size, part) for size, part in zip(images.shape[2:], uniform.unbind(1), strict=True))
    batch = torch.arange(len(images), device=images.device)[:, None, None]
    padded = F.pad(images, (1, 1, 1, 1)).permute(0, 2, 3, 1)  # (N, C, H, W) -> (N, H + 2, W + 2, C)
    return padded[batch, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def cutout(images: Tensor, uniform: Tensor) -> Tensor:
    """Set a square of half a side to zero; its middle lies anywhere, so parts may stand out. `uniform` is (N, 2)."""
    inside = [_hole(size, part) for size, part in zip(images.shape[2:], uniform.unbind(1), strict=True)]
    return images.masked_fill((inside[0][:, :, None] & inside[1][:, None, :])[:, None], 0.0)


# name -> (change, how many uniform numbers it takes for an image)
AUGMENTATIONS: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], int]] = {
    "color": (color, 3),
    "translation": (translation, 2),
    "cutout": (cutout, 2),
}


def count_uniforms(names: tuple[str, ...]) -> int:
    """How many uniform numbers the named changes take for an image."""
    return sum(AUGMENTATIONS[name][1] for name in names)


def apply_augmentations(images: Tensor, uniform: Tensor, names: tuple[str, ...]) -> Tensor:
    """The named changes, one after the other, of images (N, C, H, W) in [-1, 1].

    Args:
        uniform: (N, `numbers(names)`) in [0, 1).
        names: of AUGMENTATIONS.
    """
    start = 0
    for name in names:
        change, count = AUGMENTATIONS[name]
        images = change(images, uniform[:, start : start + count])
        start += count
    return images


def _shifted(size: int, uniform: Tensor) -> Tensor:
    """For each image (N,) and place (size,): where in the padded image it is taken from; 0 and size + 1 are padding."""
    farthest = int(size * _SHIFT + 0.5)
    shift = (uniform * (2 * farthest + 1)).floor().long() - farthest
    return (torch.arange(size, device=uniform.device) + shift[:, None] + 1).clamp(0, size + 1)


def _hole(size: int, uniform: Tensor) -> Tensor:
    """Which places (N, size) of a side lie in the hole."""
    side = int(size * _HOLE + 0.5)
    middle = (uniform * (size + 1 - side % 2)).floor().long()
    places = torch.arange(size, device=uniform.device) - middle[:, None] + side // 2
    return (places >= 0) & (places < side)
