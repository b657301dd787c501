"""Spectral normalization: W̄ = W / σ(W), Miyato et al. 2018 (arXiv 1802.05957), algorithm 1."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .precision import at_least_fp32, full_precision, result_dtype

# As torch's spectral norm: σ is then nearly right at the first update.
_INITIAL_ITERATIONS = 15

Gain = float | Literal["learned"]


class _DivideBySigma(torch.autograd.Function):
    """W̄ = W / σ, σ = uᵀWv. Autograd's backward pass would allocate four tensors of W's size."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, u: Tensor, v: Tensor, order: list[int], dtype: torch.dtype) -> Tensor:
        sigma = torch.dot(u, _matrix(weight, order) @ v)
        ctx.save_for_backward(weight, u, v, sigma)
        ctx.order = order
        if weight.device.type == "cpu":  # where rounding within the division is slower
            return (weight / sigma).to(dtype)
        return torch.div(weight, sigma, out=torch.empty_like(weight, dtype=dtype))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        # ∂L/∂W = (G − ⟨G, W̄⟩ u vᵀ) / σ, G being ∂L/∂W̄ (Miyato et al. 2018, equation 12).
        weight, u, v, sigma = ctx.saved_tensors
        matrix = _matrix(weight, ctx.order)
        if torch.is_grad_enabled():  # for a second derivative, also through σ
            sigma = torch.dot(u, matrix @ v)
        g = _matrix(gradient.to(weight.dtype), ctx.order)  # (C_out, C_in * k_h * k_w)
        inner = torch.dot(g.reshape(-1), matrix.reshape(-1)) / sigma
        result = torch.addr(g, u * inner, v, alpha=-1) / sigma
        shape = [weight.shape[d] for d in ctx.order]
        inverse = [ctx.order.index(d) for d in range(weight.dim())]
        return result.view(shape).permute(inverse), None, None, None, None


class SpectralNorm(nn.Module):
    """Parametrization of a layer's weight: W̄ = c W / σ(W) (Miyato et al. 2018, equations 7 and 8, with c = 1).

    σ = uᵀWv is estimated by power iteration. `u` and `v` are buffers, saved with the network, and change only in
    `iterate`; the gradient flows through σ with u and v constant. Everything is computed in fp32 at least, also under
    autocast.

    Args:
        weight: the raw weight, of any shape.
        dim: the dimension of the output channels; the others are flattened: W is (C_out, C_in * k_h * k_w).
        eps: the smallest norm used as a divisor.
        autocast: return W̄ in the dtype of autocast, to which a convolution would cast it at each use.
        gain: c, or "learned": a scalar parameter, initially 1 (Miyato et al. 2018, appendix E, where it is γ).
    """

    u: Tensor  # (C_out,), unit norm
    v: Tensor  # (C_in * k_h * k_w,), unit norm

    def __init__(
        self, weight: Tensor, dim: int = 0, eps: float = 1e-12, *, autocast: bool = False, gain: Gain = 1.0
    ) -> None:
        super().__init__()
        self.dim = dim
        self.eps = eps
        self.autocast = autocast
        self.gain = make_gain(gain, weight)
        rows = weight.shape[dim]
        # A generator of its own, so that a global seed gives the same raw weights with and without SN.
        start = torch.randn(rows, generator=torch.Generator().manual_seed(rows), dtype=torch.float64)
        template = at_least_fp32(weight.detach())
        self.register_buffer("u", F.normalize(start.to(template), dim=0, eps=eps))
        self.register_buffer("v", torch.zeros(weight.numel() // rows).to(template))
        self.iterate(weight, _INITIAL_ITERATIONS)

    @torch.no_grad()
    def iterate(self, weight: Tensor, iterations: int = 1) -> None:
        """Update u and v in place, `iterations` times: v <- normalize(Wᵀu), u <- normalize(Wv)."""
        iterate_batch([(self, weight)], iterations)

    @torch.no_grad()
    def sigma(self, weight: Tensor) -> Tensor:
        """Return the current estimate σ(W) = uᵀWv, a scalar."""
        return self.estimate(weight)

    def estimate(self, weight: Tensor) -> Tensor:
        """Return σ(W) with a gradient: that of uᵀWv with u and v constant."""
        with full_precision(weight):
            weight, u, v, order = self._prepare(weight)
            return torch.dot(u, _matrix(weight, order) @ v)

    def forward(self, weight: Tensor) -> Tensor:
        """Return W̄ in the weight's shape and dtype, or in the dtype of autocast (see `autocast`)."""
        dtype = result_dtype(weight, self.autocast)
        with full_precision(weight):
            weight, u, v, order = self._prepare(weight)
            if isinstance(self.gain, Tensor):
                normalized = _DivideBySigma.apply(weight, u, v, order, weight.dtype)
                return (self.gain.to(weight) * normalized).to(dtype)
            if self.gain != 1:
                u /= self.gain  # W / (σ / c), σ / c = (u / c)ᵀWv
            return _DivideBySigma.apply(weight, u, v, order, dtype)

    def _prepare(self, weight: Tensor) -> tuple[Tensor, Tensor, Tensor, list[int]]:
        """Return the weight in fp32 at least, copies of u and v, v in the order of its columns, and that order.

        Copies, because `iterate` may change u and v between a forward pass and its backward pass.
        """
        weight = at_least_fp32(weight)
        order = _memory_order(weight, self.dim)
        v = _to_memory_order(self.v.to(weight), weight, order)
        return weight, self.u.to(weight, copy=True), v, order

    def right_inverse(self, weight: Tensor) -> Tensor:
        """Return the raw weight to store when the layer's weight is assigned: the assigned value."""
        return weight


class DividedBySigma(nn.Module):
    """Base class of other parametrizations W̄ = c W / σ(W): a subclass defines σ in `estimate`.

    Args:
        weight: the raw weight, or a part of it: the device and dtype of a learned gain.
        gain: c, or "learned": a scalar parameter, initially 1.
        autocast: return W̄ in the dtype of autocast, to which a convolution would cast it at each use.
    """

    def __init__(self, weight: Tensor, gain: Gain, *, autocast: bool) -> None:
        super().__init__()
        self.autocast = autocast
        self.gain = make_gain(gain, weight)

    def estimate(self, weight: Tensor) -> Tensor:
        """Return σ(W), a scalar with a gradient, for a weight in fp32 at least."""
        raise NotImplementedError

    @torch.no_grad()
    def sigma(self, weight: Tensor) -> Tensor:
        """Return the current estimate of σ(W), a scalar."""
        with full_precision(weight):
            return self.estimate(at_least_fp32(weight))

    def forward(self, weight: Tensor) -> Tensor:
        """Return W̄ in the weight's shape and dtype, or in the dtype of autocast (see `autocast`)."""
        dtype = result_dtype(weight, self.autocast)
        with full_precision(weight):
            weight = at_least_fp32(weight)
            gain = self.gain.to(weight) if isinstance(self.gain, Tensor) else self.gain
            return (weight * (gain / self.estimate(weight))).to(dtype)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """Return the raw weight to store when the layer's weight is assigned: the assigned value."""
        return weight


def make_gain(gain: Gain, weight: Tensor) -> float | nn.Parameter:
    """Return a constant gain, or the parameter of a learned one, with the device and dtype of the weight.

    Raises:
        ValueError: the gain is not "learned" and not a positive finite number.
    """
    if gain == "learned":
        return nn.Parameter(torch.ones((), device=weight.device, dtype=weight.dtype))
    if isinstance(gain, str) or not 0 < gain < math.inf:
        raise ValueError(f'gain must be a positive number or "learned", not {gain!r}')
    return float(gain)


@torch.no_grad()
def iterate_batch(layers: list[tuple[SpectralNorm, Tensor]], iterations: int) -> None:
    """Power iteration for many layers at once: for small layers, launching each operation takes the time."""
    if not layers or iterations < 1:
        return
    eps = [norm.eps for norm, _ in layers]
    with full_precision(layers[0][1]):
        weights = [at_least_fp32(weight) for _, weight in layers]
        orders = [_memory_order(weight, norm.dim) for weight, (norm, _) in zip(weights, layers, strict=True)]
        matrices = [_matrix(weight, order) for weight, order in zip(weights, orders, strict=True)]
        us = [norm.u.to(matrix) for matrix, (norm, _) in zip(matrices, layers, strict=True)]
        for _ in range(iterations):
            vs = _normalize_([matrix.T @ u for matrix, u in zip(matrices, us, strict=True)], eps)
            us = _normalize_([matrix @ v for matrix, v in zip(matrices, vs, strict=True)], eps)
        vs = [_from_memory_order(v, weight, order) for v, weight, order in zip(vs, weights, orders, strict=True)]
        torch._foreach_copy_([norm.v for norm, _ in layers], vs)
        torch._foreach_copy_([norm.u for norm, _ in layers], us)


def _normalize_(vectors: list[Tensor], eps: list[float]) -> list[Tensor]:
    """Divide vectors in place by their norms, or by `eps` if larger, as F.normalize."""
    lengths = list(torch._foreach_norm(vectors))
    torch._foreach_clamp_min_(lengths, eps)
    torch._foreach_div_(vectors, lengths)
    return vectors


def _memory_order(weight: Tensor, dim: int) -> list[int]:
    """Order of a weight's dimensions: output channels first, then the others by decreasing stride."""
    strides = weight.stride()
    return [dim, *sorted((d for d in range(weight.dim()) if d != dim), key=lambda d: -strides[d])]


def _matrix(weight: Tensor, order: list[int]) -> Tensor:
    """Flatten a weight to W, (C_out, C_in * k_h * k_w), with columns in memory order, so that nothing is copied."""
    return weight.permute(order).flatten(1)


def _to_memory_order(v: Tensor, weight: Tensor, order: list[int]) -> Tensor:
    """Reorder v from the columns of a contiguous weight to those of `_matrix`; returns a copy."""
    others, plain = order[1:], sorted(order[1:])
    return (
        v.view([weight.shape[d] for d in plain])
        .permute([plain.index(d) for d in others])
        .clone(memory_format=torch.contiguous_format)
        .view(-1)
    )


def _from_memory_order(v: Tensor, weight: Tensor, order: list[int]) -> Tensor:
    """Inverse of `_to_memory_order`."""
    others, plain = order[1:], sorted(order[1:])
    return v.view([weight.shape[d] for d in others]).permute([others.index(d) for d in plain]).reshape(-1)
