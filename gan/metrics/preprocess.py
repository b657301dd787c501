"""Resize images to Inception's input of 299 x 299 pixels. Scores with different rules cannot be compared."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

INCEPTION_SIZE = 299


def pytorch_fid(images: Tensor) -> Tensor:
    """pytorch-fid's rule: to [0, 1], bilinear between pixel centres without antialiasing, then to [-1, 1].

    Args:
        images: uint8 (N, 3, H, W).

    Returns:
        float32 (N, 3, 299, 299).
    """
    x = images.float().div(255)
    x = F.interpolate(x, size=(INCEPTION_SIZE, INCEPTION_SIZE), mode="bilinear", align_corners=False)
    return 2 * x - 1


def torch_fidelity(images: Tensor) -> Tensor:
    """torch-fidelity's rule, TensorFlow 1's: bilinear between pixel corners, then (x - 128) / 128, so [-1, 0.992].

    Args and returns: as `pytorch_fid`. Each value is computed in the order of TensorFlow's kernel
    (`resize_bilinear_op`); torch's interpolation does not support this alignment.
    """
    x = images.float()
    low, high, fraction = _corner_grid(x.shape[3], x.device)
    left, right = x[:, :, :, low], x[:, :, :, high]
    x = left + (right - left) * fraction  # (N, 3, H, W) -> (N, 3, H, 299)
    low, high, fraction = _corner_grid(x.shape[2], x.device)
    top, bottom = x[:, :, low], x[:, :, high]
    x = top + (bottom - top) * fraction[:, None]  # (N, 3, H, 299) -> (N, 3, 299, 299)
    return (x - 128) / 128


def clean(images: Tensor) -> Tensor:
    """Antialiased bilinear, then (x - 128) / 128: torchmetrics' rule. (clean-fid's own filter is bicubic.)

    Args and returns: as `pytorch_fid`. The filter differs from it only for images larger than 299 pixels, the range
    for all.
    """
    x = F.interpolate(
        images.float(), size=(INCEPTION_SIZE, INCEPTION_SIZE), mode="bilinear", align_corners=False, antialias=True
    )
    return (x - 128) / 128


def for_classifier(images: Tensor, size: int, channels: int) -> Tensor:
    """Antialiased bilinear to [-1, 1], float32 (N, channels, size, size); one channel is the mean of three."""
    x = images.float()
    if channels == 1:
        x = x.mean(dim=1, keepdim=True)
    return F.interpolate(x, size=(size, size), mode="bilinear", align_corners=False, antialias=True) / 127.5 - 1


PREPROCESS: dict[str, Callable[[Tensor], Tensor]] = {
    "pytorch-fid": pytorch_fid,
    "torch-fidelity": torch_fidelity,
    "clean": clean,
}


def _corner_grid(size: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """For each of 299 positions: the pixel before it, the pixel after it, and the fraction of the way between them."""
    # The scale is rounded to float32 before it multiplies, as TensorFlow does.
    position = torch.arange(INCEPTION_SIZE, dtype=torch.float32) * torch.tensor(
        size / INCEPTION_SIZE, dtype=torch.float32
    )
    low = position.long()
    high = (low + 1).clamp_max(size - 1)
    return low.to(device), high.to(device), (position - low).to(device)
