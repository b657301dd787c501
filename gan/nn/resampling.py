"""Resampling by two with the filter [1, 2, 1], as in R3GAN (Huang et al. 2024, arXiv 2501.05441) and StyleGAN2.

Twice the resolution: every pixel is repeated, then filtered; half of it: filtered, then averaged over 2×2 pixels. Per
axis either is one filter, [1, 2, 1] * [1, 1] = [1, 3, 3, 1], with stride 2. Beyond the border there are zeros, as in
the authors' code, so that a constant map stays constant but for its border.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

UPSAMPLING_GAIN = 4.0


def upsample(x: Tensor) -> Tensor:
    """Twice the resolution: (N, C, H, W) to (N, C, 2H, 2W)."""
    return _filtered(x, UPSAMPLING_GAIN, F.conv_transpose2d)


class Upsample2d(nn.Module):
    """`upsample` as a layer, which an export can replace."""

    def forward(self, x: Tensor) -> Tensor:
        return upsample(x)


def downsample(x: Tensor) -> Tensor:
    """Half the resolution: (N, C, H, W), even sizes, to (N, C, H/2, W/2)."""
    return _filtered(x, 1.0, F.conv2d)


def _filtered(x: Tensor, gain: float, convolve: Callable[..., Tensor]) -> Tensor:
    # A CPU computes depthwise convolutions in fp32 more than ten times as fast as in bf16 (benchmarks/r3gan_speed.py).
    dtype = torch.float32 if x.device.type == "cpu" and x.dtype == torch.bfloat16 else x.dtype
    with torch.autocast(x.device.type, enabled=False):
        weight = kernel(gain, dtype, x.device).expand(x.shape[1], 1, 4, 4)
        return convolve(x.to(dtype), weight, stride=2, padding=1, groups=x.shape[1]).to(x.dtype)


def kernel(gain: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The kernel (4, 4) of either direction, of sum `gain`."""
    row = 4 - (2 * torch.arange(4, dtype=dtype, device=device) - 3).abs()  # 1, 3, 3, 1, without a copy from the host
    return gain * torch.outer(row, row) / 64
