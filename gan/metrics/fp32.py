"""float32 products computed in float32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


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
