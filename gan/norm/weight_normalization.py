"""Weight normalization, Salimans & Kingma 2016 (arXiv 1602.07868), with exact second derivatives.

torch's fused operation is used for the values and the gradients. Its second derivatives do not equal finite differences
(seen in torch 2.15), so a gradient that is differentiated again is computed by the formula.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class WeightNorm(nn.Module):
    """Parametrization of a layer's weight: W = g v / ‖v‖ for each index of `dim` (equation 2).

    g, of shape (C_out, 1, ...), and v, of W's shape, are the stored tensors `original0` and `original1`, as those of
    torch's `weight_norm`. Values and gradients equal torch's bit for bit.
    """

    def __init__(self, dim: int = 0) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, g: Tensor, v: Tensor) -> Tensor:
        """Return W."""
        v, g = v.contiguous(), g.contiguous()  # as torch: a network may store its weights channels-last
        if self.dim not in (0, v.dim() - 1) or v.device.type not in ("cpu", "cuda"):  # as torch decides
            return v * (g / torch.norm_except_dim(v, 2, self.dim))
        return _FusedWeightNorm.apply(v, g, self.dim)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return g and v of a weight."""
        return torch.norm_except_dim(weight, 2, self.dim), weight


class _FusedWeightNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, v: Tensor, g: Tensor, dim: int) -> Tensor:
        weight, norms = torch._weight_norm_interface(v, g, dim)
        ctx.save_for_backward(v, g, norms)
        ctx.dim = dim
        return weight

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        v, g, norms = ctx.saved_tensors
        if not torch.is_grad_enabled():
            return *torch.ops.aten._weight_norm_interface_backward(gradient.contiguous(), v, g, norms, ctx.dim), None
        # With n = ‖v‖ and s = ⟨∂L/∂W, v⟩: ∂L/∂g = s / n, ∂L/∂v = g/n ∂L/∂W − g s/n³ v (equation 3).
        n = torch.norm_except_dim(v, 2, ctx.dim)
        s = (gradient * v).sum([d for d in range(v.dim()) if d != ctx.dim], keepdim=True)
        return g / n * gradient - g * s / n**3 * v, s / n, None
