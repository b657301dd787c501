"""Affine warps against SciPy, and their derivatives."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage, signal

from gan.nn import affine_warp
from gan.nn.affine_warp import copy_pixels, warp

H, W = 12, 16
ROTATED = ((0.9, -0.5, 1.3), (0.4, 1.2, -2.1), (0.0, 0.0, 1.0))
SHRUNK = ((2.5, 0.3, 4.0), (-1.0, 3.1, 0.7), (0.0, 0.0, 1.0))  # several reflections are seen


def noise(count: int = 2, height: int = H, width: int = W) -> torch.Tensor:
    return torch.rand(count, 1, height, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1


def transforms(*rows: object) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def by_scipy(image: np.ndarray, transform: np.ndarray) -> np.ndarray:
    """The published steps for one image (H, W): pad, upsample, sample, downsample."""
    pad, h = 200, np.array(affine_warp._SYM6)
    height, width = image.shape
    padded = np.pad(image, pad, mode="reflect")
    # The zeros that upfirdn puts between pixels stand after them; index 5 of its result is the first pixel.
    fine = signal.upfirdn(h * math.sqrt(2), signal.upfirdn(h * math.sqrt(2), padded, 2, axis=0), 2, axis=1)
    rows, columns = (np.arange(-5, 2 * size + 5) / 2 - (size - 1) / 2 for size in (height, width))
    y, x = np.meshgrid(rows, columns, indexing="ij")
    sources = np.einsum("ij,jhw->ihw", transform, np.stack([x, y, np.ones_like(x)]))
    where = [2 * (sources[i] + (size - 1) / 2 + pad) + 5 for i, size in ((1, height), (0, width))]
    sampled = ndimage.map_coordinates(fine, where, order=1)
    for axis in (0, 1):
        sampled = ndimage.correlate1d(sampled, h / math.sqrt(2), axis=axis, origin=-6, mode="constant")
    return sampled[: 2 * height : 2, : 2 * width : 2]


@pytest.mark.parametrize("transform", [ROTATED, SHRUNK])
def test_warp_is_the_published_one(transform: tuple[tuple[float, ...], ...]) -> None:
    x = noise()
    ours = warp(x, transforms(transform, ROTATED))
    for i, of_image in enumerate((transform, ROTATED)):
        np.testing.assert_allclose(ours[i, 0], by_scipy(x[i, 0].numpy(), np.array(of_image)), rtol=0, atol=1e-10)


def test_warp_of_a_smooth_image_is_close_to_spline_interpolation() -> None:
    """Quintic splines, of an image whose wavelengths are 17 pixels and more; the filters shift by 1/20 of a pixel."""
    y, x = np.mgrid[:32, :48]
    image = np.cos(2 * np.pi * x / 23.5) * np.cos(2 * np.pi * y / 31) + 0.5 * np.cos(2 * np.pi * (x + y) / 24)
    angle, scale = 0.6, 0.8
    matrix = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]) * scale  # x, y
    shift, centre = np.array([1.3, -2.6]), np.array([47 / 2, 31 / 2])
    flipped = matrix[::-1, ::-1]  # SciPy's order: y, x
    offset = (centre + shift)[::-1] - flipped @ centre[::-1]
    expected = ndimage.affine_transform(image, flipped, offset, order=5, mode="mirror")
    full = np.eye(3)
    full[:2, :2], full[:2, 2] = matrix, shift
    ours = warp(torch.tensor(image)[None, None], torch.tensor(full)[None])[0, 0].numpy()
    inner = (slice(6, -6), slice(6, -6))  # reflections have an edge, which is not smooth
    assert np.abs(ours - expected)[inner].max() < 0.03
    assert np.abs(expected - image)[inner].max() > 1


def test_identity_and_whole_pixels_need_no_interpolation() -> None:
    x = noise()
    eye = torch.eye(3, dtype=torch.float64).repeat(2, 1, 1)
    torch.testing.assert_close(warp(x, eye), x, rtol=0, atol=1e-11)
    eye[:, 0, 2], eye[:, 1, 2] = 3, -2
    padded = torch.nn.functional.pad(x, (0, 3, 2, 0), mode="reflect")[:, :, :H, 3:]
    torch.testing.assert_close(warp(x, eye), padded, rtol=0, atol=1e-11)
    assert torch.equal(copy_pixels(x, eye), padded)


@pytest.mark.parametrize("turns", range(4))
def test_copies_of_quarter_turns_are_exact(turns: int) -> None:
    x = noise(1, H, H).float()
    cosine, sine = (1, 0, -1, 0)[turns], (0, 1, 0, -1)[turns]
    turned = copy_pixels(x, transforms([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]]).float())
    assert torch.equal(turned, x.rot90(turns, (2, 3)))


@pytest.mark.parametrize("mode", [affine_warp._BILINEAR, affine_warp._NEAREST])
def test_indexing_is_the_same_as_the_grid_sampler(mode: int) -> None:
    x = noise().requires_grad_()
    generator = torch.Generator().manual_seed(1)
    source = [torch.rand(2, 9, 9, generator=generator, dtype=torch.float64) * (size - 1) for size in (W, H)]
    source[0][:, 0], source[1][:, 0] = W - 1, H - 1  # the last pixel
    weights = torch.rand(2, 1, 9, 9, generator=generator, dtype=torch.float64)
    results = [sample(x, source, mode) for sample in (affine_warp._resample, affine_warp._gather)]
    torch.testing.assert_close(*results, rtol=0, atol=1e-12)
    gradients = [torch.autograd.grad((result * weights).sum(), x)[0] for result in results]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-12)


def test_derivatives() -> None:
    x = noise(2, 4, 5).requires_grad_()
    matrices = transforms(ROTATED, SHRUNK)
    for function in (warp, copy_pixels):
        assert torch.autograd.gradcheck(lambda x, f=function: f(x, matrices) ** 2, x)
        assert torch.autograd.gradgradcheck(lambda x, f=function: f(x, matrices) ** 3, x)


def test_matrices_made_in_inference_mode_work_in_training() -> None:
    affine_warp._filters.cache_clear()
    with torch.inference_mode():
        warp(noise(), transforms(ROTATED, ROTATED))
    warp(noise().requires_grad_(), transforms(ROTATED, ROTATED)).sum().backward()
