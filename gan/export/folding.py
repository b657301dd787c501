"""Fold the normalization of a trained network into plain layers and constants.

`gan.norm.fold` merges norms into the layers before them. A batch norm whose input is a sum or a concatenation (the
first of a pre-activation block) has no such layer; it becomes a constant scale and shift, without mean, variance or
division.
"""

from collections import Counter
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gan.models.blocks import ConditionalBatchNorm2d
from gan.norm import BidirectionalSpectralNorm, Centering, ConvolutionSpectralNorm, Orthogonal, SpectralNorm, fold
from gan.norm.folding import affine
from gan.norm.layer_types import BATCH_NORMS
from gan.norm.weight_normalization import WeightNorm

_INPUT_NORMS = (nn.GroupNorm, nn.LayerNorm, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)

_WEIGHT_MAPS: dict[type[nn.Module], str] = {
    SpectralNorm: "spectral norm",
    BidirectionalSpectralNorm: "bidirectional spectral norm",
    ConvolutionSpectralNorm: "convolution spectral norm",
    Orthogonal: "orthogonal weight",
    WeightNorm: "weight norm",
}


class _Constants(nn.Module):
    scale: Tensor
    shift: Tensor

    def __init__(self, scale: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.register_buffer("scale", scale.clone())
        self.register_buffer("shift", shift.clone())


class ScaleShift(_Constants):
    """Per-channel h * scale + shift with constants (C,), for h (N, C) or (N, C, ...)."""

    def forward(self, h: Tensor) -> Tensor:
        shape = (-1,) + (1,) * (h.dim() - 2)  # (C,) -> (C, 1, ...), broadcast over (N, C, ...)
        return h * self.scale.view(shape) + self.shift.view(shape)


class ConditionalScaleShift(_Constants):
    """Per-channel h * scale[y] + shift[y] with constants (classes, C), for h (N, C, H, W) and labels y (N,)."""

    def forward(self, h: Tensor, labels: Tensor) -> Tensor:
        scale, shift = (F.embedding(labels, table)[:, :, None, None] for table in (self.scale, self.shift))
        return h * scale + shift


@dataclass(frozen=True, eq=False)
class FoldedNetwork:
    """A network in evaluation mode with its normalization folded, and the norms that could not be."""

    network: nn.Module
    folded: dict[str, int]
    """Number of norms of each kind that were merged into weights and biases."""
    constant: dict[str, str]
    """Norms without a layer to merge into, now a constant scale and shift: path -> class."""
    kept: dict[str, str]
    """Norms that compute statistics of each input and are unchanged: path -> class."""

    def describe_remaining(self) -> list[str]:
        """One line of text for each kind of norms that were not folded."""
        lines = []
        if self.constant:
            reason = "no layer before it, or class-conditional"
            lines.append(f"replaced by a constant scale and shift ({reason}): {_list_modules(self.constant)}")
        if self.kept:
            lines.append(f"not folded (computes statistics of each input), unchanged: {_list_modules(self.kept)}")
        return lines


@torch.no_grad()
def fold_to_plain_layers(network: nn.Module) -> FoldedNetwork:
    """Fold a copy of a network."""
    before = _count_norms(network)
    folded = fold(network, strict=False).requires_grad_(False)
    constant: dict[str, str] = {}
    kept: dict[str, str] = {}
    for path, module in list(folded.named_modules()):
        if any(path.startswith(f"{replaced}.") for replaced in constant):
            continue
        replacement = _constant(module)
        if replacement is not None:
            folded.set_submodule(path, replacement)
            constant[path] = type(module).__name__
        elif isinstance(module, (*_INPUT_NORMS, *BATCH_NORMS)):
            kept[path] = type(module).__name__
    after = _count_norms(folded)
    after.update("centering" if kind == Centering.__name__ else "batch norm" for kind in constant.values())
    return FoldedNetwork(folded.eval(), dict(before - after), constant, kept)


def _list_modules(modules: dict[str, str]) -> str:
    return ", ".join(f"{path} ({kind})" for path, kind in modules.items())


def _constant(module: nn.Module) -> nn.Module | None:
    """The constant scale and shift of a norm in evaluation mode; None for other modules and norms."""
    if not isinstance(module, ConditionalBatchNorm2d):
        constants = affine(module)
        return None if constants is None else ScaleShift(*constants)
    if (constants := affine(module.norm)) is None:
        return None
    scale, shift = (module.scale.weight * part for part in constants)  # (classes, C) * (C,)
    return ConditionalScaleShift(scale, module.shift.weight + shift)


def _count_norms(network: nn.Module) -> Counter[str]:
    """Number of norms of each kind."""
    counts = Counter(dict.fromkeys(["batch norm", "centering", *_WEIGHT_MAPS.values()], 0))
    for module in network.modules():
        if isinstance(module, BATCH_NORMS):
            counts["batch norm"] += 1
        elif isinstance(module, Centering):
            counts["centering"] += 1
        elif isinstance(module, parametrize.ParametrizationList):
            counts.update(_weight_map_name(parametrization) for parametrization in module)
    return counts


def _weight_map_name(parametrization: nn.Module) -> str:
    names = (name for kind, name in _WEIGHT_MAPS.items() if isinstance(parametrization, kind))
    return next(names, "other weight map")
