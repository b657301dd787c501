"""A trained network as plain layers: what `gan.norm.fold` merges, and constants in place of what it must leave.

A batch norm that reads a sum or a concatenation (the first of a pre-activation block) has no layer to merge into. In
evaluation it is a constant scale and shift, and becomes that: no mean, no variance, no division is left.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gan.models.blocks import ConditionalBatchNorm2d
from gan.norm import Centering, fold, spectral_norms
from gan.norm.folding import affine
from gan.norm.layers import BATCH_NORMS

_OF_EACH_INPUT = (
    nn.GroupNorm,
    nn.LayerNorm,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
)


class ScaleShift(nn.Module):
    """h * scale + shift per channel, constants of shape (C,), for h of shape (N, C) or (N, C, ...)."""

    scale: Tensor
    shift: Tensor

    def __init__(self, scale: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.register_buffer("scale", scale.clone())
        self.register_buffer("shift", shift.clone())

    def forward(self, h: Tensor) -> Tensor:
        shape = (-1,) + (1,) * (h.dim() - 2)  # (C,) -> (C, 1, ...), against (N, C, ...)
        return h * self.scale.view(shape) + self.shift.view(shape)


class ConditionalScaleShift(nn.Module):
    """h * scale[y] + shift[y] per channel, for h (N, C, H, W), labels y (N,) and constants of shape (classes, C)."""

    scale: Tensor
    shift: Tensor

    def __init__(self, scale: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.register_buffer("scale", scale.clone())
        self.register_buffer("shift", shift.clone())

    def forward(self, h: Tensor, labels: Tensor) -> Tensor:
        scale, shift = (F.embedding(labels, table)[:, :, None, None] for table in (self.scale, self.shift))
        return h * scale + shift


@dataclass(frozen=True, eq=False)
class FoldedNetwork:
    """A network in evaluation mode with as little normalization as there can be, and what became of the rest."""

    network: nn.Module
    folded: dict[str, int]
    """How many of each kind were merged into weights and biases."""
    constant: dict[str, str]
    """Norms with no layer to merge into, now a constant scale and shift: path -> class."""
    kept: dict[str, str]
    """Norms that take their statistics from each input and stay as they are: path -> class."""

    def told(self) -> list[str]:
        """A line for the user on each kind of what is left."""
        lines = []
        if self.constant:
            why = "no layer before it, or one for each class"
            lines.append(f"not folded ({why}), a constant scale and shift now: {_listed(self.constant)}")
        if self.kept:
            lines.append(f"not folded (its statistics come from each input), exported as it is: {_listed(self.kept)}")
        return lines


@torch.no_grad()
def fold_to_plain_layers(network: nn.Module) -> FoldedNetwork:
    """Fold a network; it is not changed itself."""
    had = _count(network)
    folded = fold(network, strict=False).requires_grad_(False)
    constant: dict[str, str] = {}
    kept: dict[str, str] = {}
    for path, module in list(folded.named_modules()):
        if any(path.startswith(f"{whole}.") for whole in constant):
            continue  # a part of what is replaced already
        replacement = _constant(module)
        if replacement is not None:
            folded.set_submodule(path, replacement)
            constant[path] = type(module).__name__
        elif isinstance(module, (*_OF_EACH_INPUT, *BATCH_NORMS)):
            kept[path] = type(module).__name__
    left = _count(folded)
    left.update("centering" if kind == Centering.__name__ else "batch norm" for kind in constant.values())
    return FoldedNetwork(folded.eval(), dict(had - left), constant, kept)


def _listed(modules: dict[str, str]) -> str:
    return ", ".join(f"{path} ({kind})" for path, kind in modules.items())


def _constant(module: nn.Module) -> nn.Module | None:
    """The constant map that a normalization is in evaluation; None for any other module, and for one that has none."""
    if not isinstance(module, ConditionalBatchNorm2d):
        found = affine(module)
        return None if found is None else ScaleShift(*found)
    found = affine(module.norm)
    if found is None:
        return None
    scale, shift = (module.scale.weight * part for part in found)  # (classes, C) * (C,)
    return ConditionalScaleShift(scale, module.shift.weight + shift)


def _count(network: nn.Module) -> Counter[str]:
    """How many normalizations of each kind a network has."""
    modules = list(network.modules())
    spectral = sum(1 for _ in spectral_norms(network))
    return Counter(
        {
            "batch norm": sum(isinstance(module, BATCH_NORMS) for module in modules),
            "centering": sum(isinstance(module, Centering) for module in modules),
            "spectral norm": spectral,
            "weight norm": sum(isinstance(module, parametrize.ParametrizationList) for module in modules) - spectral,
        }
    )
