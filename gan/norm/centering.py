"""Centering, h − E[h] + m, which MSN adds to SN: Subramanian & Chong 2019 (arXiv 1907.04003), section 3."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_ADD_ROW = 1024  # values per row when a vector is added to rows
_MEAN_ROW = 256  # values per row when rows are averaged
_GROUP = 256  # rows whose mean is rounded once; a power of two, so that the mean of equal values is exact


class _Center(torch.autograd.Function):
    """h − E[h] + m, and E[h]. The gradient of h is the centred gradient; that of m is its sum per channel.

    `mean_over_ranks` turns the mean of one process into that of all.
    """

    @staticmethod
    def forward(
        ctx: Any, h: Tensor, m: Tensor, mean_over_ranks: Callable[[Tensor], Tensor] | None
    ) -> tuple[Tensor, Tensor]:
        mean = _channel_means(h)
        mean = mean if mean_over_ranks is None else mean_over_ranks(mean)
        ctx.mean_over_ranks = mean_over_ranks
        ctx.set_materialize_grads(False)  # the mean has no gradient: no zeros for it
        ctx.mark_non_differentiable(mean)
        shift = torch.sub(m, mean, out=h.new_empty(mean.shape))  # rounded by the same kernel: one instead of two
        return _shift(h, shift), mean

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor, Tensor | None, None]:
        mean = _channel_means(gradient)
        sums = mean * (gradient.numel() // gradient.shape[1]) if ctx.needs_input_grad[1] else None
        mean = mean if ctx.mean_over_ranks is None else ctx.mean_over_ranks(mean)
        return _shift(gradient, mean.to(gradient.dtype), sign=-1), sums, None


class Centering(nn.Module):
    """h̃ = h − E[h] + m, per channel (Subramanian & Chong 2019, section 3), for h of shape (N, C) or (N, C, ...).

    In training, E is the mean over the batch and all positions; in evaluation, a running mean. `bias` is m. With
    `scale`, h̃ = γ (h − E[h]) + m, with γ in `weight`: it is in the authors' code, not in their equation.

    A batch of one with several positions is centred over its positions. With one value per channel (a batch of one on
    a 1×1 map), centering would erase that value, so the running mean is subtracted instead.

    If several processes share a batch, `mean_over_ranks` turns the mean of one into that of all, differentiably.

    Args:
        channels: C.
        scale: learn γ.
        momentum: weight of a new batch in the running mean.
        device, dtype: of the parameters and the running mean; None: torch's defaults.
    """

    running_mean: Tensor  # (C,)

    def __init__(
        self,
        channels: int,
        *,
        scale: bool = False,
        momentum: float = 0.1,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.momentum = momentum
        self.mean_over_ranks: Callable[[Tensor], Tensor] | None = None
        self.bias = nn.Parameter(torch.zeros(channels, device=device, dtype=dtype))
        self.weight = nn.Parameter(torch.ones(channels, device=device, dtype=dtype)) if scale else None
        self.register_buffer("running_mean", torch.zeros(channels, device=device, dtype=dtype))

    def forward(self, h: Tensor) -> Tensor:
        single = h.numel() == h.shape[1] and self.mean_over_ranks is None  # one value per channel
        if self.training and not single and self.weight is None:
            centred, mean = _Center.apply(h, self.bias, self.mean_over_ranks)
            self._update(mean)
            return centred
        mean = self.running_mean
        if self.training:
            previous, current = mean.clone(), self.batch_mean(_channel_means(h))
            mean = previous if single else current
        scale = 1 if self.weight is None else self.weight
        shift = self.bias - scale * mean
        scaled = h if self.weight is None else h * _along_channels(self.weight.to(h.dtype), h)
        return scaled + _along_channels(shift.to(h.dtype), h)

    def batch_mean(self, mean: Tensor) -> Tensor:
        """Return E[h] over all ranks, (C,), from that of this rank, and update the running mean."""
        mean = mean if self.mean_over_ranks is None else self.mean_over_ranks(mean)
        self._update(mean)
        return mean

    @torch.no_grad()
    def _update(self, mean: Tensor) -> None:
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)

    def affine(self) -> tuple[Tensor, Tensor]:
        """Return the affine map applied in evaluation: (scale, shift), each (C,)."""
        scale = torch.ones_like(self.bias) if self.weight is None else self.weight
        return scale, self.bias - scale * self.running_mean


def _channel_means(h: Tensor) -> Tensor:
    """Mean of each channel, (C,), over the batch and all positions of h (N, C) or (N, C, ...), in fp32 at least."""
    kind = torch.float64 if h.dtype == torch.float64 else torch.float32
    rows = _rows(h, _MEAN_ROW)
    if rows is not None:
        # torch sums a matrix over its rows column by column, and bf16 in an fp32 copy. Its mean pool adds whole rows in
        # fp32 and rounds once per group and column: in bf16 many roundings per channel, which average out.
        groups = rows.view(-1, math.gcd(len(rows), _GROUP), 1, rows.shape[1]).permute(0, 3, 1, 2)  # (G, k*C, rows, 1)
        return F.avg_pool2d(groups, (groups.shape[2], 1)).view(-1, h.shape[1]).mean(0, dtype=kind)
    if h.device.type == "cpu" and h.dim() > 2:  # per image, for the same reason
        return h.flatten(2).mean(2).mean(0, dtype=kind)
    return h.mean([d for d in range(h.dim()) if d != 1], dtype=kind)


def _rows(h: Tensor, max_length: int) -> Tensor | None:
    """View h (N, C, ...) as a matrix (P, k * C), each row k positions with all channels; None if that needs a copy.

    On a CPU torch processes each row separately, and short rows value by value; it vectorizes long rows.

    Args:
        max_length: largest number of values in a row, unless one position has more.
    """
    last = h.movedim(1, -1)
    if h.device.type != "cpu" or h.numel() == 0 or not last.is_contiguous():
        return None
    positions = h.numel() // h.shape[1]
    power = 1 << (max(1, max_length // h.shape[1]).bit_length() - 1)
    return last.view(-1, h.shape[1] * math.gcd(positions, power))


def _shift(h: Tensor, shift: Tensor, sign: int = 1) -> Tensor:
    """Add a shift per channel, (C,), to h (N, C, ...), or subtract it."""
    rows = _rows(h, _ADD_ROW)
    if rows is None or torch.is_grad_enabled():  # for a second derivative
        return torch.add(h, _along_channels(shift, h), alpha=sign)
    result = torch.empty_like(h)  # not a view, so that an activation may modify it in place
    repeated = shift.expand(rows.shape[1] // h.shape[1], -1).reshape(-1)  # `repeat` takes three times as long
    torch.add(rows, repeated, alpha=sign, out=result.movedim(1, -1).view(rows.shape))
    return result


def _along_channels(values: Tensor, h: Tensor) -> Tensor:
    """Reshape (C,) to (C, 1, ...), which broadcasts with h (N, C, ...)."""
    return values.view(-1, *(1,) * (h.dim() - 2))
