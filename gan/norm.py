"""Normalizations of a network's layers: spectral normalization, mean spectral normalization, and what they are held to.

This file imports torch alone and can be used in any other project:

    conv = NORMS["msn"].hidden(nn.Conv2d(64, 128, 3, padding=1))   # a hidden layer
    last = NORMS["msn"].output(nn.Linear(8192, 1))                 # the layer that gives the network's answer

    power_iterate(network)      # once before each training update of the network
    small = fold(network)       # after training: plain layers, nothing left to compute

Sources: SN is Miyato et al. 2018 (arXiv 1802.05957), algorithm 1; MSN is Subramanian & Chong 2019 (arXiv 1907.04003),
section 3. Neither equation is restated in a changed form here; `docs/method.md` says where the published code differs.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import weight_norm

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, *_TRANSPOSED)
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_INSTANCE_NORMS = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
# torch starts its own spectral norm in the same way: the first update then sees a σ that is nearly right.
_INITIAL_ITERATIONS = 15
_ROW = 1024  # numbers in a row of `_rows`
_LARGE_COPY, _SMALL_COPY = 1 << 22, 1 << 18  # numbers in fp32


class _Divided(torch.autograd.Function):
    """W̄ = W / σ, σ = uᵀWv, in one step: autograd would make four tensors of W's size on the way back."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, u: Tensor, v: Tensor, dim: int, dtype: torch.dtype) -> Tensor:
        order = _order(weight, dim)
        sigma = torch.dot(u, _matrix(weight, order) @ _in_order(v, weight, order))
        ctx.save_for_backward(weight, u, v, sigma)
        ctx.order = order
        return (weight / sigma).to(dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        # ∂L/∂W = (G − ⟨G, W̄⟩ u vᵀ) / σ, G being ∂L/∂W̄ (Miyato et al. 2018, equation 12).
        weight, u, v, sigma = ctx.saved_tensors
        matrix, v = _matrix(weight, ctx.order), _in_order(v, weight, ctx.order)
        if torch.is_grad_enabled():  # to be differentiated again: through σ too
            sigma = torch.dot(u, matrix @ v)
        wide = _matrix(gradient.to(weight.dtype), ctx.order)  # (C_out, C_in * k_h * k_w)
        inner = (wide * matrix).sum() / sigma.square()
        result = torch.addr(wide / sigma, u * -inner, v)
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
            return _Divided.apply(wide, self.u.to(wide, copy=True), self.v.to(wide, copy=True), self.dim, dtype)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """What is stored when a user sets the layer's weight: the raw weight as it is."""
        return weight


class _Centred(torch.autograd.Function):
    """h − E[h] + m and E[h]: the gradient is centred as h is, and its sums are those that m needs.

    `shared` takes the mean of one process to that of all.
    """

    @staticmethod
    def forward(ctx: Any, h: Tensor, m: Tensor, shared: Callable[[Tensor], Tensor] | None) -> tuple[Tensor, Tensor]:
        mean = _channel_sums(h) / (h.numel() // h.shape[1])
        mean = mean if shared is None else shared(mean)
        ctx.shared = shared
        ctx.mark_non_differentiable(mean)
        return _shifted(h, (m - mean).to(h.dtype)), mean

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor, Tensor, None]:
        sums = _channel_sums(gradient)
        mean = sums / (gradient.numel() // gradient.shape[1])
        mean = mean if ctx.shared is None else ctx.shared(mean)
        return _shifted(gradient, -mean.to(gradient.dtype)), sums, None


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
            batch = batch if self.mean_over_ranks is None else self.mean_over_ranks(batch)
            mean = mean.clone() if alone else batch
            self._update(batch)
        scale = 1 if self.weight is None else self.weight
        shift = self.bias - scale * mean
        scaled = h if self.weight is None else h * _along_channels(self.weight.to(h.dtype), h)
        return scaled + _along_channels(shift.to(h.dtype), h)

    @torch.no_grad()
    def _update(self, mean: Tensor) -> None:
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)

    def affine(self) -> tuple[Tensor, Tensor]:
        """The map that evaluation applies, as (scale, shift), each (C,)."""
        scale = torch.ones_like(self.bias) if self.weight is None else self.weight
        return scale, self.bias - scale * self.running_mean


class Normalized(nn.Module):
    """A layer followed by a normalization of what it gives. `condition` (class labels) goes to the normalization."""

    def __init__(self, layer: nn.Module, norm: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.norm = norm

    def forward(self, x: Tensor, *condition: Tensor) -> Tensor:
        return self.norm(self.layer(x), *condition)


class Norm(NamedTuple):
    """How one normalization treats a hidden layer, and the output layer. Both take over the layer they are given.

    `pools` says that means of neighbouring positions may be taken before it, for the same result: it shifts a channel
    by its mean or not at all, and scales it by what does not depend on its values.
    """

    hidden: Callable[[nn.Module], nn.Module]
    output: Callable[[nn.Module], nn.Module]
    pools: bool = True


def _plain(layer: nn.Module) -> nn.Module:
    return layer


def _spectral(layer: nn.Module) -> nn.Module:
    weight = layer.weight
    assert isinstance(weight, Tensor)
    norm = SpectralNorm(weight, _output_dim(layer), autocast=isinstance(layer, _LAYERS))
    parametrize.register_parametrization(layer, "weight", norm)
    return layer


def _weight_norm(layer: nn.Module) -> nn.Module:
    return weight_norm(layer, dim=_output_dim(layer))


def _batch(layer: nn.Module) -> nn.Module:
    return Normalized(_without_bias(layer), _BATCH_NORMS[_spatial(layer) - 1](_channels(layer)))


def _layer_norm(layer: nn.Module) -> nn.Module:
    # One group: mean and variance over channels and positions, scale and shift per channel.
    return Normalized(layer, nn.GroupNorm(1, _channels(layer)))


def _instance(layer: nn.Module) -> nn.Module:
    if isinstance(layer, nn.Linear):
        # One position per channel has no statistics of its own: normalize over the features of a sample.
        return _layer_norm(layer)
    return Normalized(_without_bias(layer), _INSTANCE_NORMS[_spatial(layer) - 1](_channels(layer), affine=True))


def _mean(layer: nn.Module) -> nn.Module:
    return Normalized(_without_bias(layer), Centering(_channels(layer)))


def _mean_spectral(layer: nn.Module) -> nn.Module:
    return _mean(_spectral(layer))


def _mean_spectral_affine(layer: nn.Module) -> nn.Module:
    return Normalized(_without_bias(_spectral(layer)), Centering(_channels(layer), scale=True))


# Centering the output layer would erase what it says, so the norms with SN leave SN there, the others nothing.
NORMS: dict[str, Norm] = {
    "none": Norm(_plain, _plain),
    "bn": Norm(_batch, _plain, pools=False),
    "ln": Norm(_layer_norm, _plain, pools=False),
    "in": Norm(_instance, _plain, pools=False),
    "wn": Norm(_weight_norm, _weight_norm),
    "mean": Norm(_mean, _plain),
    "sn": Norm(_spectral, _spectral),
    "msn": Norm(_mean_spectral, _spectral),
    "msn-affine": Norm(_mean_spectral_affine, _spectral),
}


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
    return {name: norm.sigma(weight).item() for name, norm, weight in spectral_norms(network)}


@torch.no_grad()
def fold(network: nn.Module, *, strict: bool = True) -> nn.Module:
    """A copy of a trained network in evaluation mode whose normalizations are merged into plain layers.

    SN and weight norm become the weight that they compute; centering and batch norm, where they follow a layer
    directly (in `Normalized` or `nn.Sequential`), become part of its weight and bias. A batch norm with no layer
    before it stays: it is a plain scale and shift by then. Layer and instance norm take their statistics from each
    input, and a conditional norm takes its scale from the label: those cannot fold.

    Args:
        network: any module; it is not changed.
        strict: raise if something cannot fold. Otherwise leave that part as it is.

    Raises:
        ValueError: names the layers that cannot fold.
    """
    folded = copy.deepcopy(network).eval()
    for module in folded.modules():
        if parametrize.is_parametrized(module):
            _store_weights(module)
    stuck: list[str] = []
    holder = nn.ModuleDict({"root": folded})
    for path, module in list(holder.named_modules()):
        if isinstance(module, Normalized):
            if _absorb(module.layer, module.norm):
                holder.set_submodule(path, module.layer)
            else:
                stuck.append(f"{path.removeprefix('root').lstrip('.') or 'it'} ({type(module.norm).__name__})")
        elif isinstance(module, nn.Sequential):
            for index in range(len(module) - 1):
                if _absorb(module[index], module[index + 1]):
                    module[index + 1] = nn.Identity()
    if stuck and strict:
        raise ValueError(f"cannot fold, the statistics or scale depend on the input: {', '.join(stuck)}")
    return holder["root"]


def _store_weights(layer: nn.Module) -> None:
    """Turn a parametrized layer into a plain one that has the computed weights as its own.

    torch's `remove_parametrizations` is not used: it takes the attribute from the layer's class, which a deep copy
    shares with its original (the original would be left without a weight).
    """
    weights = {name: getattr(layer, name) for name in layer.parametrizations}  # type: ignore[union-attr]
    layer.__class__ = parametrize.type_before_parametrizations(layer)
    del layer.parametrizations
    for name, weight in weights.items():
        layer.register_parameter(name, nn.Parameter(weight))


def _absorb(layer: nn.Module, norm: nn.Module) -> bool:
    """Merge a normalization in evaluation mode into the layer before it; False where that cannot be done."""
    if not isinstance(layer, _LAYERS):
        return False
    if isinstance(norm, Centering):
        scale, shift = norm.affine()
    elif isinstance(norm, _BATCH_NORMS) and norm.running_mean is not None and norm.running_var is not None:
        scale = (norm.running_var + norm.eps).rsqrt()
        scale = scale if norm.weight is None else scale * norm.weight
        shift = -scale * norm.running_mean
        shift = shift if norm.bias is None else shift + norm.bias
    else:
        return False
    if isinstance(layer, _TRANSPOSED):
        # A transposed convolution's weight is (C_in, C_out / groups, ...), its input channels sorted by group.
        weight = layer.weight.unflatten(0, (layer.groups, -1))  # (groups, C_in / groups, C_out / groups, ...)
        by_group = scale.view(layer.groups, 1, -1, *(1,) * (weight.dim() - 3))
        layer.weight = nn.Parameter((weight * by_group).flatten(0, 1))
    else:
        layer.weight = nn.Parameter(layer.weight * scale.view(-1, *(1,) * (layer.weight.dim() - 1)))
    layer.bias = nn.Parameter(shift if layer.bias is None else layer.bias * scale + shift)
    return True


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
    """v, in the order of a plain weight's columns, in that of `_matrix`."""
    others, plain = order[1:], sorted(order[1:])
    return v.view([weight.shape[d] for d in plain]).permute([plain.index(d) for d in others]).reshape(-1)


def _out_of_order(v: Tensor, weight: Tensor, order: list[int]) -> Tensor:
    """The inverse of `_in_order`."""
    others, plain = order[1:], sorted(order[1:])
    return v.view([weight.shape[d] for d in others]).permute([others.index(d) for d in plain]).reshape(-1)


def _channel_sums(h: Tensor) -> Tensor:
    """Sums (C,) over the batch and all positions of h (N, C) or (N, C, ...), in fp32 at least."""
    rows = _rows(h)
    if rows is not None:
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


def _full_precision(tensor: Tensor) -> torch.autocast:
    """Switch autocast off: a matrix product for σ must not run in bf16."""
    return torch.autocast(tensor.device.type, enabled=False)


def _output_dim(layer: nn.Module) -> int:
    """The dimension of a layer's weight that counts its output channels."""
    return 1 if isinstance(layer, _TRANSPOSED) else 0


def _spatial(layer: nn.Module) -> int:
    """How many dimensions the normalization of a layer is made for; a linear layer counts as one."""
    return 1 if isinstance(layer, nn.Linear) else len(_checked(layer).kernel_size)


def _channels(layer: nn.Module) -> int:
    return layer.out_features if isinstance(layer, nn.Linear) else _checked(layer).out_channels


def _checked(layer: nn.Module) -> _ConvNd:
    if not isinstance(layer, _ConvNd):
        raise TypeError(f"a normalized layer is a convolution or linear, not {type(layer).__name__}")
    return layer


def _without_bias(layer: nn.Module) -> nn.Module:
    """Drop a bias that the normalization after it would cancel or replaces."""
    layer.register_parameter("bias", None)
    return layer
