"""DiffAugment: differentiable augmentation of real and generated images alike, before D.

Zhao et al. 2020, "Differentiable Augmentation for Data-Efficient GAN Training", arXiv 2006.10738, with the strengths of
their published code. The caller passes the uniform random numbers, so that a step can be repeated.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gan.nn.ada import UNIFORMS, ada, ada_r3gan

Augmentation = tuple[Callable[..., Tensor], int]
"""A function of images (N, C, H, W) and uniform numbers (N, K) in [0, 1), and K."""

_MAX_SHIFT = 1 / 8  # as a fraction of the side of an image
_HOLE = 1 / 2  # side of the square that is cut out, as a fraction of the side of an image


def color(images: Tensor, uniform: Tensor) -> Tensor:
    """Shift the brightness by up to ±½, scale saturation by 0 to 2 and contrast by ½ to 1½. `uniform` is (N, 3)."""
    brightness, saturation, contrast = (value.view(-1, 1, 1, 1) for value in uniform.unbind(1))
    images = images + (brightness - 0.5)
    grey = images.mean(1, keepdim=True)
    images = (images - grey) * (2 * saturation) + grey
    mean = images.mean((1, 2, 3), keepdim=True)
    return (images - mean) * (contrast + 0.5) + mean


def translation(images: Tensor, uniform: Tensor) -> Tensor:
    """Shift by whole pixels, up to an eighth of a side in each direction, padding with zeros. `uniform` is (N, 2)."""
    rows, columns = (
        _source_positions(size, part) for size, part in zip(images.shape[2:], uniform.unbind(1), strict=True)
    )
    batch = torch.arange(len(images), device=images.device)[:, None, None]
    padded = F.pad(images, (1, 1, 1, 1)).permute(0, 2, 3, 1)  # (N, C, H, W) -> (N, H + 2, W + 2, C)
    return padded[batch, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def cutout(images: Tensor, uniform: Tensor) -> Tensor:
    """Zero a square of half a side; its centre may be anywhere, so parts may be outside. `uniform` is (N, 2)."""
    inside = [_hole(size, part) for size, part in zip(images.shape[2:], uniform.unbind(1), strict=True)]
    return images.masked_fill((inside[0][:, :, None] & inside[1][:, None, :])[:, None], 0.0)


AUGMENTATIONS: dict[str, Augmentation] = {
    "color": (color, 3),
    "translation": (translation, 2),
    "cutout": (cutout, 2),
    "ada": (ada, UNIFORMS),
    "ada-r3gan": (ada_r3gan, UNIFORMS),
}


def own_augmentation(augmentation: Any) -> Augmentation:
    """A user's own augmentation: a pair as in AUGMENTATIONS, or a function with K in its attribute `uniforms`.

    Raises a TypeError for anything else.
    """
    function, count = augmentation if isinstance(augmentation, tuple) else (augmentation, None)
    count = getattr(function, "uniforms", None) if count is None else count
    if not callable(function) or not isinstance(count, int) or count < 0:
        raise TypeError("must be a pair (function of images and uniform numbers, count of these numbers per image)")
    return function, count


def check_augmentation(augmentation: Augmentation, channels: int, resolution: int) -> None:
    """Raise a TypeError unless an augmentation returns images of the same shape, with gradients."""
    function, count = augmentation
    images = torch.zeros(2, channels, resolution, resolution, requires_grad=True)
    with torch.enable_grad():
        probability = (1.0,) if _takes_probability(function) else ()
        augmented = function(images, torch.full((2, count), 0.5), *probability)
    if not isinstance(augmented, Tensor) or augmented.shape != images.shape:
        form = tuple(augmented.shape) if isinstance(augmented, Tensor) else type(augmented).__name__
        raise TypeError(f"returned {form} for images {tuple(images.shape)}; it must return images of the same shape")
    if not augmented.requires_grad:
        raise TypeError("the augmented images have no gradient with respect to the images")


def count_uniforms(augmentations: Sequence[Augmentation]) -> int:
    """Number of uniform numbers per image that augmentations need."""
    return sum(count for _, count in augmentations)


def count_gates(augmentations: Sequence[Augmentation]) -> int:
    """Number of further uniform numbers per image that augmentations need if they may be left out."""
    return sum(not _takes_probability(function) for function, _ in augmentations)


def apply_augmentations(
    images: Tensor, uniform: Tensor, augmentations: Sequence[Augmentation], p: float | Tensor | None = None
) -> Tensor:
    """Apply augmentations in turn to images (N, C, H, W) in [-1, 1].

    Args:
        uniform: (N, K) in [0, 1), where K is `count_uniforms(augmentations)`; with `p`, further
            `count_gates(augmentations)` numbers follow.
        p: probability with which each augmentation is applied to an image, a number or a scalar tensor: where the
            augmentation's own further number is less than p. None: all are applied. A function with the attribute
            `takes_probability` gets p, or 1.0, as its third argument instead, and decides by its own numbers.
    """
    start, gate = 0, count_uniforms(augmentations)
    for augment, count in augmentations:
        numbers = uniform[:, start : start + count]
        start += count
        if _takes_probability(augment):
            images = augment(images, numbers, 1.0 if p is None else p)
        elif p is None:
            images = augment(images, numbers)
        else:
            applied = (uniform[:, gate] < p).view(-1, 1, 1, 1)  # (N,) -> (N, 1, 1, 1)
            images = torch.where(applied, augment(images, numbers), images)
            gate += 1
    return images


def _takes_probability(function: Callable[..., Tensor]) -> bool:
    return bool(getattr(function, "takes_probability", False))


def _source_positions(size: int, uniform: Tensor) -> Tensor:
    """Source position in the padded image of each position, int64 (N, size); 0 and size + 1 are padding."""
    largest = int(size * _MAX_SHIFT + 0.5)
    shift = (uniform * (2 * largest + 1)).floor().long() - largest
    return (torch.arange(size, device=uniform.device) + shift[:, None] + 1).clamp(0, size + 1)


def _hole(size: int, uniform: Tensor) -> Tensor:
    """Mask of the positions within the hole along one side, bool (N, size)."""
    side = int(size * _HOLE + 0.5)
    centre = (uniform * (size + 1 - side % 2)).floor().long()
    positions = torch.arange(size, device=uniform.device) - centre[:, None] + side // 2
    return (positions >= 0) & (positions < side)
