"""Folding: merge the normalizations of a trained network into the weights and biases of plain layers."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from .centering import Centering
from .convolution_norm import forget_input_size
from .feature_norms import Normalized
from .layer_types import BATCH_NORMS, LAYERS, TRANSPOSED


@torch.no_grad()
def fold(network: nn.Module, *, strict: bool = True) -> nn.Module:
    """Copy a trained network in evaluation mode, with its normalizations merged into plain layers.

    A weight map is replaced by the weight that it computes. Centering and batch norm directly after a layer
    (in `Normalized` or `nn.Sequential`) become part of its weight and bias. A batch norm without a layer before it
    stays, as a plain scale and shift. Layer and instance norm, whose statistics come from each input, and conditional
    norms, whose scale depends on the label, cannot be folded.

    The input of a linear layer followed by a norm must be (N, C). With (N, C, L) do not fold it: the layer works along
    L and `BatchNorm1d` along C, and a module does not show which one is meant if both have the same size.

    Args:
        network: any module; it is not changed. A layer with several names is folded under each.
        strict: raise if a `Normalized` layer cannot be folded; otherwise leave it as it is. Norms elsewhere, as in
            `nn.Sequential`, stay in either case if they cannot be folded.

    Raises:
        ValueError: lists the `Normalized` layers that cannot be folded.
    """
    folded = copy.deepcopy(network).eval()
    for module in folded.modules():
        if parametrize.is_parametrized(module):
            _store_weights(module)
    unfoldable: list[str] = []
    merged: dict[nn.Module, nn.Module | None] = {}
    root = nn.ModuleDict({"root": folded})  # so that the network itself can be replaced
    for path, module in list(root.named_modules(remove_duplicate=False)):
        if isinstance(module, Normalized):
            if module not in merged:
                merged[module] = _merge(module.layer, module.norm)
            layer = merged[module]
            if layer is not None:
                root.set_submodule(path, layer)
            else:
                name = path.removeprefix("root").lstrip(".") or "the network itself"
                unfoldable.append(f"{name} ({type(module.norm).__name__})")
        elif isinstance(module, nn.Sequential):
            for index in range(len(module) - 1):
                layer = _merge(module[index], module[index + 1])
                if layer is not None:
                    module[index], module[index + 1] = layer, nn.Identity()
    if unfoldable and strict:
        raise ValueError(f"cannot fold, the statistics or scale depend on the input: {', '.join(unfoldable)}")
    return root["root"]


def affine(norm: nn.Module) -> tuple[Tensor, Tensor] | None:
    """Return the affine map of a norm in evaluation, (scale, shift), each (C,); None if it depends on the input."""
    if isinstance(norm, Centering):
        return norm.affine()
    if not isinstance(norm, BATCH_NORMS) or norm.running_mean is None or norm.running_var is None:
        return None
    scale = (norm.running_var + norm.eps).rsqrt()
    scale = scale if norm.weight is None else scale * norm.weight
    shift = -scale * norm.running_mean
    return scale, shift if norm.bias is None else shift + norm.bias


def _store_weights(layer: nn.Module) -> None:
    """Turn a parametrized layer into a plain one that stores the computed weights.

    torch's `remove_parametrizations` is not used: it deletes the attribute from the layer's class, which a deep copy
    shares with its original, so the original would lose its weight. The computed weights keep the memory format of the
    raw ones: weight norm would otherwise lose channels-last, and convolutions would restore it at each call.
    """
    weights = {}
    for name, raw in layer.parametrizations.items():  # type: ignore[union-attr, operator]
        weight = getattr(layer, name)
        template = next((own for own in raw.parameters(recurse=False) if own.shape == weight.shape), weight)
        weights[name] = torch.empty_like(template, dtype=weight.dtype).copy_(weight)
    layer.__class__ = parametrize.type_before_parametrizations(layer)
    del layer.parametrizations
    forget_input_size(layer)
    for name, weight in weights.items():
        layer.register_parameter(name, nn.Parameter(weight))


def _merge(layer: nn.Module, norm: nn.Module) -> nn.Module | None:
    """Merge a layer and the normalization after it, in evaluation mode; None if that is impossible.

    The result is a copy: the network may also use the layer with another norm, or without one.
    """
    if not isinstance(layer, LAYERS) or (evaluated := affine(norm)) is None:
        return None
    scale, shift = evaluated
    if isinstance(layer, nn.Linear) and len(scale) != layer.out_features:
        return None  # its input is (N, C, L), and the norm works along C
    layer = copy.deepcopy(layer)
    if isinstance(layer, TRANSPOSED):
        # The weight of a transposed convolution is (C_in, C_out / groups, ...), with input channels sorted by group.
        weight = layer.weight.unflatten(0, (layer.groups, -1))  # (groups, C_in / groups, C_out / groups, ...)
        by_group = scale.view(layer.groups, 1, -1, *(1,) * (weight.dim() - 3))
        layer.weight = nn.Parameter((weight * by_group).flatten(0, 1))
    else:
        layer.weight = nn.Parameter(layer.weight * scale.view(-1, *(1,) * (layer.weight.dim() - 1)))
    layer.bias = nn.Parameter(shift if layer.bias is None else layer.bias * scale + shift)
    return layer
