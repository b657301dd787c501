"""Spectral normalization: W̄ = W / σ(W), Miyato et al. 2018 (arXiv 1802.05957), algorithm 1."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

# torch starts its own spectral norm in the same way: the first update then sees a σ that is nearly right.
_INITIAL_ITERATIONS = 15


class _Divided(torch.autograd.Function):
    """W̄ = W / σ, σ = uᵀWv, in one step: autograd would make four tensors of W's size on the way back."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, u: Tensor, v: Tensor, order: list[int], dtype: torch.dtype) -> Tensor:
        sigma = torch.dot(u, _matrix(weight, order) @ v)
        ctx.save_for_backward(weight, u, v, sigma)
        ctx.order = order
        if weight.device.type == "cpu":  # where it takes longer to round numbers as they are made
            return (weight / sigma).to(dtype)
        return torch.div(weight, sigma, out=torch.empty_like(weight, dtype=dtype))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        # ∂L/∂W = (G − ⟨G, W̄⟩ u vᵀ) / σ, G being ∂L/∂W̄ (Miyato et al. 2018, equation 12).
        weight, u, v, sigma = ctx.saved_tensors
        matrix = _matrix(weight, ctx.order)
        if torch.is_grad_enabled():  # to be differentiated again: through σ too
            sigma = torch.dot(u, matrix @ v)
        wide = _matrix(gradient.to(weight.dtype), ctx.order)  # (C_out, C_in * k_h * k_w)
        inner = torch.dot(wide.reshape(-1), matrix.reshape(-1)) / sigma
        result = torch.addr(wide, u * inner, v, alpha=-1) / sigma
        shape = [weight.shape[d] for d in ctx.order]
        back = [ctx.order.index(d) for d in range(weight.dim())]
        return result.view(shape).permute(back), None, None, None, None


class SpectralNorm(nn.Module):
    """The map W -> W̄ = W / σ(W), as a parametrization of a layer's weight (Miyato et al. 2018, equations 7 and 8).

    σ = uᵀWv is estimated by power iteration. `u` and `v` are buffers, saved with the network, and move only in
    `iterate`; the gradient flows through σ with u and v held constant. Everything is computed in fp32 at least, also
    under autocast.

    Args:
        weight: the raw weight, of any shape.
        dim: the dimension of the output channels. The others are flattened: W is (C_out, C_in * k_h * k_w).
        eps: the smallest norm that is divided by.
        autocast: give W̄ in the type that autocast wants, as a convolution would make it of it at each use.
    """

    u: Tensor  # (C_out,), unit norm
    v: Tensor  # (C_in * k_h * k_w,), unit norm

    def __init__(self, weight: Tensor, dim: int = 0, eps: float = 1e-12, *, autocast: bool = False) -> None:
        super().__init__()
        self.dim = dim
        self.eps = eps
        self.autocast = autocast
        rows = weight.shape[dim]
        # A generator of its own: a network has the same raw weights with and without SN for the same global seed.
        start = torch.randn(rows, generator=torch.Generator().manual_seed(rows), dtype=torch.float64)
        wide = _wide(weight.detach())
        self.register_buffer("u", F.normalize(start.to(wide), dim=0, eps=eps))
        self.register_buffer("v", torch.zeros(weight.numel() // rows).to(wide))
        self.iterate(weight, _INITIAL_ITERATIONS)

    @torch.no_grad()
    def iterate(self, weight: Tensor, iterations: int = 1) -> None:
        """Move u and v: v <- normalize(Wᵀu), u <- normalize(Wv). In place, as many times as `iterations` says."""
        _iterate([(self, weight)], iterations)

    @torch.no_grad()
    def sigma(self, weight: Tensor) -> Tensor:
        """The present estimate σ(W) = uᵀWv, a scalar."""
        with _full_precision(weight):
            wide = _wide(weight)
            order = _order(wide, self.dim)
            return torch.dot(self.u.to(wide), _matrix(wide, order) @ _in_order(self.v.to(wide), wide, order))

    def forward(self, weight: Tensor) -> Tensor:
        """W̄, of the weight's own shape and type; under autocast in its type, where that was asked for."""
        kind = weight.device.type
        dtype = torch.get_autocast_dtype(kind) if self.autocast and torch.is_autocast_enabled(kind) else weight.dtype
        with _full_precision(weight):
            # Copies: `iterate` may move u and v between a forward pass and its backward pass.
            wide = _wide(weight)
            order = _order(wide, self.dim)
            v = _in_order(self.v.to(wide), wide, order)
            return _Divided.apply(wide, self.u.to(wide, copy=True), v, order, dtype)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """What is stored when a user sets the layer's weight: the raw weight as it is."""
        return weight


def spectral_norms(network: nn.Module) -> Iterator[tuple[str, SpectralNorm, Tensor]]:
    """Every spectrally normalized weight of a network: (name of its layer, its SpectralNorm, its raw weight)."""
    for name, module in network.named_modules():
        if not parametrize.is_parametrized(module):
            continue
        for maps in module.parametrizations.values():
            for norm in maps:
                if isinstance(norm, SpectralNorm):
                    yield name, norm, maps.original


def power_iterate(network: nn.Module, iterations: int = 1) -> None:
    """Move u and v of every spectral norm in a network. Call it once before each training update of that network."""
    _iterate([(norm, weight) for _, norm, weight in spectral_norms(network)], iterations)


@torch.no_grad()
def _iterate(layers: list[tuple[SpectralNorm, Tensor]], iterations: int) -> None:
    """Power iteration for many layers together: where they are small, starting each operation is what takes time."""
    if not layers or iterations < 1:
        return
    eps = [norm.eps for norm, _ in layers]
    with _full_precision(layers[0][1]):
        wide = [_wide(weight) for _, weight in layers]
        orders = [_order(weight, norm.dim) for weight, (norm, _) in zip(wide, layers, strict=True)]
        matrices = [_matrix(weight, order) for weight, order in zip(wide, orders, strict=True)]
        us = [norm.u.to(matrix) for matrix, (norm, _) in zip(matrices, layers, strict=True)]
        for _ in range(iterations):
            vs = _unit([matrix.T @ u for matrix, u in zip(matrices, us, strict=True)], eps)
            us = _unit([matrix @ v for matrix, v in zip(matrices, vs, strict=True)], eps)
        in_plain_order = [_out_of_order(v, weight, order) for v, weight, order in zip(vs, wide, orders, strict=True)]
        torch._foreach_copy_([norm.v for norm, _ in layers], in_plain_order)
        torch._foreach_copy_([norm.u for norm, _ in layers], us)


def _unit(vectors: list[Tensor], eps: list[float]) -> list[Tensor]:
    """Vectors divided, in place, by their norms or by `eps`, as F.normalize does it."""
    lengths = list(torch._foreach_norm(vectors))
    torch._foreach_clamp_min_(lengths, eps)
    torch._foreach_div_(vectors, lengths)
    return vectors


@torch.no_grad()
def sigmas(network: nn.Module) -> dict[str, float]:
    """The present estimate σ(W) of every spectrally normalized layer, by the layer's name."""
    found = {name: norm.sigma(weight) for name, norm, weight in spectral_norms(network)}
    # One copy from the device for all.
    return dict(zip(found, torch.stack(list(found.values())).tolist(), strict=True)) if found else {}


def _wide(weight: Tensor) -> Tensor:
    """A weight in fp32, or in float64 as it is."""
    return weight if weight.dtype == torch.float64 else weight.float()


def _order(weight: Tensor, dim: int) -> list[int]:
    """A weight's dimensions: that of the output channels, then the others as they lie in memory."""
    strides = weight.stride()
    return [dim, *sorted((d for d in range(weight.dim()) if d != dim), key=lambda d: -strides[d])]


def _matrix(weight: Tensor, order: list[int]) -> Tensor:
    """Flatten a weight to W, (C_out, C_in * k_h * k_w), its columns in an order that makes that no copy."""
    return weight.permute(order).flatten(1)


def _in_order(v: Tensor, weight: Tensor, order: list[int]) -> Tensor:
    """v, in the order of a plain weight's columns, in that of `_matrix`; a copy."""
    others, plain = order[1:], sorted(order[1:])
    return (
        v.view([weight.shape[d] for d in plain])
        .permute([plain.index(d) for d in others])
        .clone(memory_format=torch.contiguous_format)
        .view(-1)
    )


def _out_of_order(v: Tensor, weight: Tensor, order: list[int]) -> Tensor:
    """The inverse of `_in_order`."""
    others, plain = order[1:], sorted(order[1:])
    return v.view([weight.shape[d] for d in others]).permute([others.index(d) for d in plain]).reshape(-1)


def _full_precision(tensor: Tensor) -> torch.autocast:
    """Switch autocast off: a matrix product for σ must not run in bf16."""
    return torch.autocast(tensor.device.type, enabled=False)
