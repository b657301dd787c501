"""Folding: a trained network as plain layers, its normalizations merged into their weights and biases."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from .centering import Centering
from .layers import BATCH_NORMS, LAYERS, TRANSPOSED, Normalized


@torch.no_grad()
def fold(network: nn.Module, *, strict: bool = True) -> nn.Module:
    """A copy of a trained network in evaluation mode whose normalizations are merged into plain layers.

    SN and weight norm become the weight that they compute; centering and batch norm, where they follow a layer
    directly (in `Normalized` or `nn.Sequential`), become part of its weight and bias. A batch norm with no layer
    before it stays: it is a plain scale and shift by then. Layer and instance norm take their statistics from each
    input, and a conditional norm takes its scale from the label: those cannot fold.

    A linear layer and the norm after it are taken to be given (N, C). For (N, C, L) they must not be folded: the layer
    works along L, a `BatchNorm1d` along C, and where both have the same size a module does not tell which is meant.

    Args:
        network: any module; it is not changed. A layer that it holds under several names is folded under each.
        strict: raise if something cannot fold. Otherwise leave that part as it is.

    Raises:
        ValueError: names the layers that cannot fold.
    """
    folded = copy.deepcopy(network).eval()
    for module in folded.modules():
        if parametrize.is_parametrized(module):
            _store_weights(module)
    stuck: list[str] = []
    merged: dict[nn.Module, nn.Module | None] = {}
    holder = nn.ModuleDict({"root": folded})
    for path, module in list(holder.named_modules(remove_duplicate=False)):
        if isinstance(module, Normalized):
            if module not in merged:
                merged[module] = _merged(module.layer, module.norm)
            layer = merged[module]
            if layer is not None:
                holder.set_submodule(path, layer)
            else:
                stuck.append(f"{path.removeprefix('root').lstrip('.') or 'it'} ({type(module.norm).__name__})")
        elif isinstance(module, nn.Sequential):
            for index in range(len(module) - 1):
                layer = _merged(module[index], module[index + 1])
                if layer is not None:
                    module[index], module[index + 1] = layer, nn.Identity()
    if stuck and strict:
        raise ValueError(f"cannot fold, the statistics or scale depend on the input: {', '.join(stuck)}")
    return holder["root"]


def affine(norm: nn.Module) -> tuple[Tensor, Tensor] | None:
    """The map that a norm applies in evaluation as (scale, shift), each (C,); None where it depends on the input."""
    if isinstance(norm, Centering):
        return norm.affine()
    if not isinstance(norm, BATCH_NORMS) or norm.running_mean is None or norm.running_var is None:
        return None
    scale = (norm.running_var + norm.eps).rsqrt()
    scale = scale if norm.weight is None else scale * norm.weight
    shift = -scale * norm.running_mean
    return scale, shift if norm.bias is None else shift + norm.bias


def _store_weights(layer: nn.Module) -> None:
    """Turn a parametrized layer into a plain one that has the computed weights as its own.

    torch's `remove_parametrizations` is not used: it takes the attribute from the layer's class, which a deep copy
    shares with its original (the original would be left without a weight). The weights lie in memory as the raw ones
    do: that of weight norm would otherwise leave channels-last order, and convolutions would put it back at each call.
    """
    weights = {}
    for name, raw in layer.parametrizations.items():  # type: ignore[union-attr, operator]
        weight = getattr(layer, name)
        alike = next((own for own in raw.parameters(recurse=False) if own.shape == weight.shape), weight)
        weights[name] = torch.empty_like(alike, dtype=weight.dtype).copy_(weight)
    layer.__class__ = parametrize.type_before_parametrizations(layer)
    del layer.parametrizations
    for name, weight in weights.items():
        layer.register_parameter(name, nn.Parameter(weight))


def _merged(layer: nn.Module, norm: nn.Module) -> nn.Module | None:
    """A layer with the normalization after it, in evaluation mode, merged into it; None where that cannot be done.

    It is a copy: elsewhere the layer may stand with another norm, or without one.
    """
    if not isinstance(layer, LAYERS):
        return None
    found = affine(norm)
    if found is None:
        return None
    scale, shift = found
    if isinstance(layer, nn.Linear) and len(scale) != layer.out_features:
        return None  # its input is (N, C, L), and the norm is along C
    layer = copy.deepcopy(layer)
    if isinstance(layer, TRANSPOSED):
        # A transposed convolution's weight is (C_in, C_out / groups, ...), its input channels sorted by group.
        weight = layer.weight.unflatten(0, (layer.groups, -1))  # (groups, C_in / groups, C_out / groups, ...)
        by_group = scale.view(layer.groups, 1, -1, *(1,) * (weight.dim() - 3))
        layer.weight = nn.Parameter((weight * by_group).flatten(0, 1))
    else:
        layer.weight = nn.Parameter(layer.weight * scale.view(-1, *(1,) * (layer.weight.dim() - 1)))
    layer.bias = nn.Parameter(shift if layer.bias is None else layer.bias * scale + shift)
    return layer
