"""Resampling by two against torch's own operations and its defining properties."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from gan.nn.resampling import downsample, upsample

MAP = torch.randn(2, 3, 8, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_upsampling_is_bilinear_with_zeros_beyond_the_border() -> None:
    bilinear = F.interpolate(F.pad(MAP, (1, 1, 1, 1)), scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(upsample(MAP), bilinear[:, :, 2:-2, 2:-2], rtol=1e-13, atol=1e-13)


def test_downsampling_is_the_filter_then_the_mean() -> None:
    """[1, 2, 1] / 4 is two means of two neighbours."""
    filtered = F.avg_pool2d(F.avg_pool2d(F.pad(MAP, (1, 1, 1, 1)), 2, 1), 2, 1)
    padded = F.avg_pool2d(F.avg_pool2d(F.pad(MAP, (2, 2, 2, 2)), 2, 1), 2, 1)
    torch.testing.assert_close(padded[:, :, 1:-1, 1:-1], filtered)
    torch.testing.assert_close(downsample(MAP), F.avg_pool2d(F.avg_pool2d(F.avg_pool2d(MAP, 2, 1, 1), 2, 1), 2))


def test_constant_in_constant_out() -> None:
    """But for the border, where zeros come in."""
    constant = torch.full((1, 2, 8, 8), 3.0, dtype=torch.float64)
    for resampled in (upsample(constant), downsample(constant)):
        inner = resampled[:, :, 1:-1, 1:-1]
        torch.testing.assert_close(inner, torch.full_like(inner, 3.0))
        assert (resampled[:, :, 0] < 3).all()


def test_they_are_adjoint_and_do_not_add_energy() -> None:
    """⟨up(x), y⟩ = 4 ⟨x, down(y)⟩, and a mean has no more energy than its images."""
    larger = torch.randn(2, 3, 16, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close((upsample(MAP) * larger).sum(), 4 * (MAP * downsample(larger)).sum())
    assert downsample(larger).square().mean() <= larger.square().mean()
    assert upsample(MAP).square().mean() <= MAP.square().mean()


@pytest.mark.parametrize("resample", [upsample, downsample])
def test_gradients(resample: object) -> None:
    x = MAP[:1, :1].clone().requires_grad_()
    assert torch.autograd.gradcheck(resample, x) and torch.autograd.gradgradcheck(resample, x)


@pytest.mark.parametrize("resample", [upsample, downsample])
def test_bf16_and_autocast_keep_the_type(resample: object) -> None:
    x = MAP.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        result = resample(x)  # type: ignore[operator]
    assert result.dtype == torch.bfloat16
    torch.testing.assert_close(result.double(), resample(x.double()), rtol=1e-2, atol=1e-2)  # type: ignore[operator]
