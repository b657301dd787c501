"""Centering, h − E[h] + m: what MSN adds to SN; Subramanian & Chong 2019 (arXiv 1907.04003), section 3."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

_ROW = 1024  # numbers in a row of `_rows`
_GROUP = 64  # rows that are summed up as one product; a power of two, so that the sum of equal numbers is exact
_LARGE_COPY, _SMALL_COPY = 1 << 22, 1 << 18  # numbers in fp32


class _Centred(torch.autograd.Function):
    """h − E[h] + m and E[h]: the gradient is centred as h is, and its sums are those that m needs.

    `shared` takes the mean of one process to that of all.
    """

    @staticmethod
    def forward(ctx: Any, h: Tensor, m: Tensor, shared: Callable[[Tensor], Tensor] | None) -> tuple[Tensor, Tensor]:
        mean = _channel_sums(h) / (h.numel() // h.shape[1])
        mean = mean if shared is None else shared(mean)
        ctx.shared = shared
        ctx.set_materialize_grads(False)  # no zeros for the mean, which has no gradient
        ctx.mark_non_differentiable(mean)
        return _shifted(h, (m - mean).to(h.dtype)), mean

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor, Tensor, None]:
        sums = _channel_sums(gradient)
        minus_mean = sums / -(gradient.numel() // gradient.shape[1])
        minus_mean = minus_mean if ctx.shared is None else ctx.shared(minus_mean)
        return _shifted(gradient, minus_mean.to(gradient.dtype)), sums, None


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
            batch = _channel_sums(h) / (h.numel() // h.shape[1])
            before, batch = mean.clone(), self.observed(batch)
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


def _channel_sums(h: Tensor) -> Tensor:
    """Sums (C,) over the batch and all positions of h (N, C) or (N, C, ...), in fp32 at least."""
    rows = _rows(h)
    if rows is not None:
        if h.dtype == torch.bfloat16:
            # A sum in fp32 would first make an fp32 copy of h. A product accumulates in fp32 too, and rounds once for
            # each group and column: many roundings a channel, which average out.
            grouped = rows.unflatten(0, (-1, math.gcd(len(rows), _GROUP)))
            rows = h.new_ones(len(grouped), 1, grouped.shape[1]) @ grouped
            return rows.view(-1, h.shape[1]).sum(0, dtype=torch.float32)
        kind = torch.float64 if h.dtype == torch.float64 else torch.float32
        return rows.sum(0, dtype=kind).view(-1, h.shape[1]).sum(0)
    dims = [d for d in range(h.dim()) if d != 1]
    if h.device.type != "cpu" or h.dtype in (torch.float32, torch.float64):
        return h.sum(dims, dtype=torch.float64 if h.dtype == torch.float64 else torch.float32)
    # On a CPU a sum that widens as it goes takes several times as long as one of a widened copy, which in turn is slow
    # where it is too large for memory that malloc keeps; then copies that fit into a cache are made one by one.
    images = max(1, _SMALL_COPY // h[0].numel()) if h.numel() > _LARGE_COPY else len(h)
    return torch.stack([part.float().sum(dims) for part in h.split(images)]).sum(0)


def _rows(h: Tensor) -> Tensor | None:
    """h (N, C, ...) as a matrix (P, k * C), rows of k positions with all their channels; None where that is a copy.

    On a CPU torch adds a vector to each row by a loop over its length, in bf16 number by number where that is short:
    in long rows, of several positions, it works on whole registers.
    """
    last = h.movedim(1, -1)
    if h.device.type != "cpu" or h.numel() == 0 or not last.is_contiguous():
        return None
    positions, most = h.numel() // h.shape[1], max(1, _ROW // h.shape[1])
    power = 1 << (most.bit_length() - 1)
    return last.view(-1, h.shape[1] * math.gcd(positions, power))


def _shifted(h: Tensor, shift: Tensor) -> Tensor:
    """h (N, C, ...) plus (C,), a number for each channel."""
    rows = _rows(h)
    if rows is None or torch.is_grad_enabled():  # to be differentiated again
        return h + _along_channels(shift, h)
    result = torch.empty_like(h)  # no view, so that an activation may work in place on it
    torch.add(rows, shift.repeat(rows.shape[1] // h.shape[1]), out=result.movedim(1, -1).view(rows.shape))
    return result


def _along_channels(values: Tensor, h: Tensor) -> Tensor:
    """(C,) -> (C, 1, ...), to be added to h (N, C, ...)."""
    return values.view(-1, *(1,) * (h.dim() - 2))
