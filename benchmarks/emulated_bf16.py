"""Run msn-gan with the matrix products of bf16 as a processor that has them makes them, on one that has not.

    python benchmarks/emulated_bf16.py train run --preset msn-dcgan --precision bf16 ...

A bf16 product multiplies bf16 numbers, adds up in fp32 and rounds once. So does this: each convolution, its gradients
and each matrix product of bf16 tensors is that of their fp32 copies, rounded to bf16. Only the order of the sums
differs. torch's own fallback, on a processor without such instructions, takes twenty times as long. Everything that is
not a product is torch's own bf16 operation. It shows what bf16 does to a training, not how fast it is.
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
    """While it is entered, products of bf16 tensors are those of their fp32 copies, rounded to bf16."""

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
