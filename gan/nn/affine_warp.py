"""Affine warps of image batches with reflected borders, antialiased by the sym6 wavelet at twice the resolution.

Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data", arXiv 2006.06676, appendix B: images
are upsampled, warped with bilinear interpolation, and downsampled. The published code pads a batch by as much as its
largest warp needs, which the host must wait for. A reflected image is periodic, so here one period is upsampled and
sampled modulo its length: the same values, with shapes that do not depend on the warps.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

# Low-pass filter of the orthonormal wavelet sym6, with squares that sum to 1: PyWavelets' `Wavelet("sym6").dec_lo`.
_SYM6 = (
    *(0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633),
    *(0.4910559419267466, 0.787641141030194, 0.3379294217276218, -0.07263752278646252),
    *(-0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148),
)
_DELAY = 5  # index of the largest coefficient: it belongs to the position of a pixel
_BILINEAR, _NEAREST, _ZEROS = 0, 1, 0  # codes of torch's grid sampler


def warp(images: Tensor, transforms: Tensor) -> Tensor:
    """Warp images by affine transforms, antialiased, with reflected borders (without repeating the border pixel).

    Args:
        images: (N, C, H, W), float32 or float64; sides of at least 2.
        transforms: (N, 3, 3) of the same type; matrices that map a pixel (x, y, 1) of the result to its source, from
            the centre of the image, x to the right and y down.

    Returns:
        (N, C, H, W), differentiable twice with respect to `images`. The identity and shifts by whole pixels give
        pixels as they are, up to rounding: the filters of up- and downsampling are orthonormal.
    """
    height, width = images.shape[2:]
    rows, columns = (_filters(size, images.dtype, images.device) for size in (height, width))
    # (N, C, H, W) -> (N, C, 4 (H - 1) + 1, 4 (W - 1) + 1): one period, and its first row and column again
    upsampled = rows[0] @ (images @ columns[0].T)
    # The downsampling filter needs 12 positions, two a pixel, of which the sixth is at the pixel.
    y, x = (
        (torch.arange(2 * size + 10, device=images.device, dtype=images.dtype) - _DELAY) / 2 - (size - 1) / 2
        for size in (height, width)
    )
    source = [
        (2 * (value + (size - 1) / 2)).remainder(4 * (size - 1))
        for value, size in zip(_mapped(transforms, x, y), (width, height), strict=True)
    ]
    return rows[1] @ (_resample(upsampled, source, _BILINEAR) @ columns[1].T)


def copy_pixels(images: Tensor, transforms: Tensor) -> Tensor:
    """Warp images by affine transforms that map pixels to pixels, exactly: each pixel is copied from the nearest.

    Arguments, borders and result are those of `warp`; mirroring, quarter turns of square images and shifts by whole
    pixels are such transforms.
    """
    y, x = (torch.arange(size, device=images.device, dtype=images.dtype) - (size - 1) / 2 for size in images.shape[2:])
    source = []
    for value, size in zip(_mapped(transforms, x, y), images.shape[:1:-1], strict=True):
        position = (value + (size - 1) / 2).round().remainder(2 * (size - 1))
        source.append(torch.minimum(position, 2 * (size - 1) - position))
    return _resample(images, source, _NEAREST)


def _mapped(transforms: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Sources (x, y), each (N, len(y), len(x)), of the points of a grid; no matrix product, which TF32 would round."""
    x, y = x[None, None, :], y[None, :, None]
    a = transforms[:, :, :, None, None]
    return a[:, 0, 0] * x + a[:, 0, 1] * y + a[:, 0, 2], a[:, 1, 0] * x + a[:, 1, 1] * y + a[:, 1, 2]


@lru_cache(maxsize=32)
def _filters(size: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Matrices of upsampling a reflected side, (4 (size - 1) + 1, size), and of downsampling, (size, 2 size + 10).

    They are made once, so that a CUDA graph, which is captured after a few steps without it, holds no host tensors.
    """
    period = 4 * (size - 1)
    up, down = np.zeros((period + 1, size)), np.zeros((size, 2 * size + 10))
    for tap, coefficient in enumerate(_SYM6):
        for pixel in range(period // 2):  # one period of the reflected image
            up[(2 * pixel + tap - _DELAY) % period, min(pixel, period // 2 - pixel)] += np.sqrt(2) * coefficient
        down[np.arange(size), 2 * np.arange(size) + tap] = coefficient / np.sqrt(2)
    up[period] = up[0]
    with torch.inference_mode(False):  # tensors made in inference mode could not be used in training
        return torch.tensor(up, dtype=dtype, device=device), torch.tensor(down, dtype=dtype, device=device)


def _resample(images: Tensor, source: list[Tensor], mode: int) -> Tensor:
    """Sample images (N, C, H, W) at positions x, y, each (N, rows, columns), within them."""
    device = images.device.type
    if device == "cpu" or (device == "cuda" and not torch.are_deterministic_algorithms_enabled()):
        grid = [position * (2 / (size - 1)) - 1 for position, size in zip(source, images.shape[:1:-1], strict=True)]
        return _Resample.apply(images, torch.stack(grid, dim=-1), mode)
    return _gather(images, source, mode)


def _gather(images: Tensor, source: list[Tensor], mode: int) -> Tensor:
    """`_resample` by indexing: slower, but its gradients are deterministic on CUDA and exist on every device."""
    batch = torch.arange(len(images), device=images.device)[:, None, None]
    pixels = images.permute(0, 2, 3, 1)  # (N, C, H, W) -> (N, H, W, C)
    x, y = (position.round() if mode == _NEAREST else position for position in source)
    if mode == _NEAREST:
        return pixels[batch, y.long(), x.long()].permute(0, 3, 1, 2)
    left, top = (
        position.floor().clamp(0, size - 2) for position, size in zip((x, y), images.shape[:1:-1], strict=True)
    )
    across, along = (x - left)[..., None], (y - top)[..., None]
    i, j = top.long(), left.long()
    upper, lower = (pixels[batch, row, j] * (1 - across) + pixels[batch, row, j + 1] * across for row in (i, i + 1))
    return (upper * (1 - along) + lower * along).permute(0, 3, 1, 2)


class _Resample(torch.autograd.Function):
    """`grid_sample` of constant positions. It is linear in the images, so its gradient's gradient is itself.

    torch's own has no second derivative: https://github.com/pytorch/pytorch/issues/34704.
    """

    @staticmethod
    def forward(ctx: Any, images: Tensor, grid: Tensor, mode: int) -> Tensor:
        ctx.save_for_backward(grid)
        ctx.shape, ctx.mode = images.shape, mode
        return F.grid_sample(images, grid, ("bilinear", "nearest")[mode], align_corners=True)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, None, None]:
        return _Spread.apply(gradient, *ctx.saved_tensors, ctx.shape, ctx.mode), None, None


class _Spread(torch.autograd.Function):
    """The transpose of `_Resample`."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, grid: Tensor, shape: torch.Size, mode: int) -> Tensor:
        ctx.save_for_backward(grid)
        ctx.mode = mode
        images = gradient.new_zeros(()).expand(shape)  # only its shape is used
        mask = [True, False]  # no gradient of the grid
        return torch.ops.aten.grid_sampler_2d_backward(gradient, images, grid, mode, _ZEROS, True, mask)[0]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, None, None, None]:
        return _Resample.apply(gradient, *ctx.saved_tensors, ctx.mode), None, None, None
