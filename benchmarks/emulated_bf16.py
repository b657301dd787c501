"""Run msn-gan with emulated bf16 matrix products, on a processor without bf16 instructions.

    python benchmarks/emulated_bf16.py train run --preset msn-dcgan --precision bf16 ...

A bf16 instruction multiplies bf16 numbers, accumulates in fp32 and rounds once. The emulation does the same: each
convolution, its gradients and each matrix product of bf16 tensors is computed on fp32 copies and rounded to bf16. Only
the order of summation differs. All other operations are torch's own in bf16. It is for measuring the effect of bf16 on
training, not its speed, but torch's fallback without such instructions takes twenty times as long.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from gan.cli import main

_PRODUCTS = {
    getattr(torch.ops.aten, name).default
    for name in ("convolution", "convolution_backward", "mm", "addmm", "bmm", "baddbmm", "mv", "addmv")
}


class EmulatedProducts(TorchDispatchMode):
    """Compute products of bf16 tensors on fp32 copies and round them to bf16, while active."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function not in _PRODUCTS or not any(_is_bf16(value) for value in args):
            return function(*args, **kwargs)
        wide = function(*tree_map(lambda value: value.float() if _is_bf16(value) else value, args), **kwargs)
        return tree_map(lambda value: value.bfloat16() if isinstance(value, Tensor) else value, wide)


def _is_bf16(value: object) -> bool:
    return isinstance(value, Tensor) and value.dtype == torch.bfloat16


if __name__ == "__main__":
    with EmulatedProducts():
        main()
