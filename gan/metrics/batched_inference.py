"""Networks looking at images: float32 products computed in float32, a fixed number of images at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """For the block: no TF32, no autocast, no choice of cuDNN's algorithms by timing. Training may have them all on.

    TF32 moves features by 1e-3 of their size; algorithms that change from run to run, by 1e-6.
    """
    cudnn: Any = torch.backends.cudnn
    matmul = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with (
            cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False),
            torch.autocast(device.type, enabled=False),
        ):
            yield
    finally:
        torch.set_float32_matmul_precision(matmul)


def batched_features(
    images: Tensor, size: int, device: torch.device, look: Callable[[Tensor], tuple[Tensor, Tensor]]
) -> tuple[Tensor, Tensor]:
    """Features (N, D) and logits (N, K), on the CPU, of images uint8 (N, 3, H, W), `size` at a time in full precision.

    Args:
        look: gives both for a batch that lies on `device`.
    """
    seen = []
    with full_precision(device):
        for batch in images.split(size):
            seen.append([part.cpu() for part in look(batch.to(device))])
    features, logits = (torch.cat(parts) for parts in zip(*seen, strict=True))
    return features, logits
