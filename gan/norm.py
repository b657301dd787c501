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
from collections.abc import Callable, Iterator
from typing import NamedTuple

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


class SpectralNorm(nn.Module):
    """The map W -> W̄ = W / σ(W), as a parametrization of a layer's weight (Miyato et al. 2018, equations 7 and 8).

    σ = uᵀWv is estimated by power iteration. `u` and `v` are buffers, saved with the network, and move only in
    `iterate`; the gradient flows through σ with u and v held constant. Everything is computed in fp32 at least, also
    under autocast.

    Args:
        weight: the raw weight, of any shape.
        dim: the dimension of the output channels. The others are flattened: W is (C_out, C_in * k_h * k_w).
        eps: the smallest norm that is divided by.
    """

    u: Tensor  # (C_out,), unit norm
    v: Tensor  # (C_in * k_h * k_w,), unit norm

    def __init__(self, weight: Tensor, dim: int = 0, eps: float = 1e-12) -> None:
        super().__init__()
        self.dim = dim
        self.eps = eps
        matrix = self._matrix(weight.detach())
        # A generator of its own: a network has the same raw weights with and without SN for the same global seed.
        start = torch.randn(len(matrix), generator=torch.Generator().manual_seed(len(matrix)), dtype=torch.float64)
        self.register_buffer("u", F.normalize(start.to(matrix), dim=0, eps=eps))
        self.register_buffer("v", torch.zeros_like(matrix[0]))
        self.iterate(weight, _INITIAL_ITERATIONS)

    def _matrix(self, weight: Tensor) -> Tensor:
        """Flatten a weight to W, (C_out, C_in * k_h * k_w), in fp32 or wider."""
        wide = weight if weight.dtype == torch.float64 else weight.float()
        return wide.movedim(self.dim, 0).flatten(1)

    @torch.no_grad()
    def iterate(self, weight: Tensor, iterations: int = 1) -> None:
        """Move u and v: v <- normalize(Wᵀu), u <- normalize(Wv). In place, as many times as `iterations` says."""
        with _full_precision(weight):
            matrix = self._matrix(weight)
            for _ in range(iterations):
                self.v.copy_(F.normalize(matrix.T @ self.u.to(matrix), dim=0, eps=self.eps))
                self.u.copy_(F.normalize(matrix @ self.v.to(matrix), dim=0, eps=self.eps))

    def sigma(self, weight: Tensor) -> Tensor:
        """σ(W) = uᵀWv, a scalar through which the gradient flows to W."""
        with _full_precision(weight):
            matrix = self._matrix(weight)
            # Copies: `iterate` may move u and v between a forward pass and its backward pass.
            u, v = self.u.to(matrix, copy=True), self.v.to(matrix, copy=True)
            return torch.dot(u, matrix @ v)

    def forward(self, weight: Tensor) -> Tensor:
        """W̄, of the weight's own shape and type."""
        with _full_precision(weight):
            sigma = self.sigma(weight)
            return (weight.to(sigma.dtype) / sigma).to(weight.dtype)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """What is stored when a user sets the layer's weight: the raw weight as it is."""
        return weight


class Centering(nn.Module):
    """h̃ = h − E[h] + m, per channel (Subramanian & Chong 2019, section 3), for h of shape (N, C) or (N, C, ...).

    In training E is taken over the batch and all positions. In evaluation it is a running mean. `bias` is m. With
    `scale`, h̃ = γ (h − E[h]) + m, γ being `weight`: the authors' code has it, their equation does not.

    A batch of one with several positions is centred over its positions. With one value per channel (a batch of one
    on a 1×1 map) that value is its own mean and centering would erase it, so the running mean is subtracted instead.

    `mean_over_ranks`, where several processes train together, takes this one's mean to that of all their batches; the
    gradient flows through it.

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
        mean = self._mean(h)
        shape = (-1,) + (1,) * (h.dim() - 2)  # (C,) -> (C, 1, ...), against (N, C, ...)
        if self.weight is None:
            return h + (self.bias - mean).to(h.dtype).view(shape)
        shift = self.bias - self.weight * mean
        return h * self.weight.to(h.dtype).view(shape) + shift.to(h.dtype).view(shape)

    def _mean(self, h: Tensor) -> Tensor:
        """E[h], (C,), in the precision of the running mean: never in bf16 or fp16."""
        if not self.training:
            return self.running_mean
        dims = [d for d in range(h.dim()) if d != 1]
        mean = h.mean(dims, dtype=self.running_mean.dtype)
        alone = h.numel() == h.shape[1] and self.mean_over_ranks is None
        if self.mean_over_ranks is not None:
            mean = self.mean_over_ranks(mean)
        used = self.running_mean.clone() if alone else mean
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
        return used

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
    """How one normalization treats a hidden layer, and the output layer. Both take over the layer they are given."""

    hidden: Callable[[nn.Module], nn.Module]
    output: Callable[[nn.Module], nn.Module]


def _plain(layer: nn.Module) -> nn.Module:
    return layer


def _spectral(layer: nn.Module) -> nn.Module:
    weight = layer.weight
    assert isinstance(weight, Tensor)
    parametrize.register_parametrization(layer, "weight", SpectralNorm(weight, _output_dim(layer)))
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
    "bn": Norm(_batch, _plain),
    "ln": Norm(_layer_norm, _plain),
    "in": Norm(_instance, _plain),
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
    for _, norm, weight in spectral_norms(network):
        norm.iterate(weight, iterations)


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
