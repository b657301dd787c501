"""Precision of the computed weights: fp32 at least, also under autocast."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_fp32(tensor: Tensor) -> Tensor:
    """Convert a tensor to fp32, unless it is float64."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def full_precision(tensor: Tensor) -> torch.autocast:
    """Disable autocast: the matrix products for σ must not run in bf16."""
    kind = tensor.device.type
    return torch.autocast(kind if torch.amp.is_autocast_available(kind) else "cpu", enabled=False)  # meta has none


def result_dtype(weight: Tensor, autocast: bool) -> torch.dtype:
    """Dtype of a computed weight: that of autocast if `autocast` is true and it is enabled, else that of the weight."""
    kind = weight.device.type
    if autocast and torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
        return torch.get_autocast_dtype(kind)
    return weight.dtype
