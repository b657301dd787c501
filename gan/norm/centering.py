"""Centering, h − E[h] + m: what MSN adds to SN; Subramanian & Chong 2019 (arXiv 1907.04003), section 3."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_ROW = 1024  # numbers in a row that a vector is added to
_AVERAGED = 256  # numbers in a row that is averaged with others
_GROUP = 256  # rows whose mean is rounded once; a power of two, so that the mean of equal numbers is exact


class _Centred(torch.autograd.Function):
    """h − E[h] + m and E[h]: the gradient is centred as h is, and its sums are those that m needs.

    `shared` takes the mean of one process to that of all.
    """

    @staticmethod
    def forward(ctx: Any, h: Tensor, m: Tensor, shared: Callable[[Tensor], Tensor] | None) -> tuple[Tensor, Tensor]:
        mean = _channel_means(h)
        mean = mean if shared is None else shared(mean)
        ctx.shared = shared
        ctx.set_materialize_grads(False)  # no zeros for the mean, which has no gradient
        ctx.mark_non_differentiable(mean)
        shift = torch.sub(m, mean, out=h.new_empty(mean.shape))  # rounded as it is made: one kernel, not two
        return _shifted(h, shift), mean

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor, Tensor | None, None]:
        mean = _channel_means(gradient)
        sums = mean * (gradient.numel() // gradient.shape[1]) if ctx.needs_input_grad[1] else None
        mean = mean if ctx.shared is None else ctx.shared(mean)
        return _shifted(gradient, mean.to(gradient.dtype), sign=-1), sums, None


class Centering(nn.Module):
    """h̃ = h − E[h] + m, per channel (Subramanian & Chong 2019, section 3), for h of shape (N, C) or (N, C, ...).

    In training E is taken over the batch and all positions. In evaluation it is a running mean. `bias` is m. With
    `scale`, h̃ = γ (h − E[h]) + m, γ being `weight`: the authors' code has it, their equation does not.

    A batch of one with several positions is centred over its positions. With one value per channel (a batch of one
    on a 1×1 map) that value is its own mean and centering would erase it, so the running mean is subtracted instead.

    Where several processes share a batch, `mean_over_ranks` takes the mean of one to that of all; it can be derived.

    Args:
        channels: C.
        scale: whether to learn γ.
        momentum: the weight of a new batch in the running mean.
    """

    running_mean: Tensor  # (C,)

    def __init__(self, channels: int, *, scale: bool = False, momentum: float = 0.1) -> None:
        super().__init__()
        self.momentum = momentum
        self.mean_over_ranks: Callable[[Tensor], Tensor] | None = None
        self.bias = nn.Parameter(torch.zeros(channels))
        self.weight = nn.Parameter(torch.ones(channels)) if scale else None
        self.register_buffer("running_mean", torch.zeros(channels))

    def forward(self, h: Tensor) -> Tensor:
        alone = h.numel() == h.shape[1] and self.mean_over_ranks is None
        if self.training and not alone and self.weight is None:
            centred, mean = _Centred.apply(h, self.bias, self.mean_over_ranks)
            self._update(mean)
            return centred
        mean = self.running_mean
        if self.training:
            before, batch = mean.clone(), self.observed(_channel_means(h))
            mean = before if alone else batch
        scale = 1 if self.weight is None else self.weight
        shift = self.bias - scale * mean
        scaled = h if self.weight is None else h * _along_channels(self.weight.to(h.dtype), h)
        return scaled + _along_channels(shift.to(h.dtype), h)

    def observed(self, mean: Tensor) -> Tensor:
        """E[h] of all ranks, from that of this one's batch, (C,); the running mean moves towards it."""
        mean = mean if self.mean_over_ranks is None else self.mean_over_ranks(mean)
        self._update(mean)
        return mean

    @torch.no_grad()
    def _update(self, mean: Tensor) -> None:
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)

    def affine(self) -> tuple[Tensor, Tensor]:
        """The map that evaluation applies, as (scale, shift), each (C,)."""
        scale = torch.ones_like(self.bias) if self.weight is None else self.weight
        return scale, self.bias - scale * self.running_mean


def _channel_means(h: Tensor) -> Tensor:
    """E[h], (C,), over the batch and all positions of h (N, C) or (N, C, ...), in fp32 at least."""
    kind = torch.float64 if h.dtype == torch.float64 else torch.float32
    rows = _rows(h, _AVERAGED)
    if rows is not None:
        # torch's sum over the rows of a matrix walks down column after column, in bf16 of an fp32 copy. Its mean pool
        # adds up whole rows, in fp32, and rounds once for each group and column: many roundings a channel in bf16,
        # which average out.
        groups = rows.view(-1, math.gcd(len(rows), _GROUP), 1, rows.shape[1]).permute(0, 3, 1, 2)  # (G, k*C, rows, 1)
        return F.avg_pool2d(groups, (groups.shape[2], 1)).view(-1, h.shape[1]).mean(0, dtype=kind)
    if h.device.type == "cpu" and h.dim() > 2:  # the same of each image, for the same reason
        return h.flatten(2).mean(2).mean(0, dtype=kind)
    return h.mean([d for d in range(h.dim()) if d != 1], dtype=kind)


def _rows(h: Tensor, most: int) -> Tensor | None:
    """h (N, C, ...) as a matrix (P, k * C), rows of k positions with all their channels; None where that is a copy.

    On a CPU torch works through each row by itself, where it is short number by number: in long rows, of several
    positions, it works on whole registers.

    Args:
        most: numbers in a row, where a position has no more.
    """
    last = h.movedim(1, -1)
    if h.device.type != "cpu" or h.numel() == 0 or not last.is_contiguous():
        return None
    positions = h.numel() // h.shape[1]
    power = 1 << (max(1, most // h.shape[1]).bit_length() - 1)
    return last.view(-1, h.shape[1] * math.gcd(positions, power))


def _shifted(h: Tensor, shift: Tensor, sign: int = 1) -> Tensor:
    """h (N, C, ...) plus or minus (C,), a number for each channel."""
    rows = _rows(h, _ROW)
    if rows is None or torch.is_grad_enabled():  # to be differentiated again
        return torch.add(h, _along_channels(shift, h), alpha=sign)
    result = torch.empty_like(h)  # no view, so that an activation may work in place on it
    repeated = shift.expand(rows.shape[1] // h.shape[1], -1).reshape(-1)  # `repeat` takes three times as long
    torch.add(rows, repeated, alpha=sign, out=result.movedim(1, -1).view(rows.shape))
    return result


def _along_channels(values: Tensor, h: Tensor) -> Tensor:
    """(C,) -> (C, 1, ...), to be added to h (N, C, ...)."""
    return values.view(-1, *(1,) * (h.dim() - 2))
