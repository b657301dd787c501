"""Compare checkpoint states"""

from __future__ import annotations

from typing import Any

import torch


def same_bytes(a: Any, b: Any, where: str = "") -> None:
    """Compare two states tensor by tensor, byte by byte."""
    assert type(a) is type(b), where
    if isinstance(a, torch.Tensor):
        assert a.dtype == b.dtype and a.shape == b.shape, where
        assert a.contiguous().numpy().tobytes() == b.contiguous().numpy().tobytes(), where
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            same_bytes(a[key], b[key], f"{where}/{key}")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), where
        for index, (x, y) in enumerate(zip(a, b, strict=True)):
            same_bytes(x, y, f"{where}/{index}")
    else:
        assert a == b, where
