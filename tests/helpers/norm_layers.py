"""Layers of every kind for the tests of `gan.norm`, and functions that inspect them."""

from __future__ import annotations

import torch
from torch import nn

from gan.norm import NORMS, spectral_norms

LAYERS = {
    "conv1d": (lambda: nn.Conv1d(4, 6, 3, padding=1), (5, 4, 7)),
    "conv2d": (lambda: nn.Conv2d(4, 6, 3, stride=2, padding=1), (5, 4, 6, 6)),
    "conv3d": (lambda: nn.Conv3d(4, 6, 2), (5, 4, 3, 4, 3)),
    "transposed1d": (lambda: nn.ConvTranspose1d(4, 6, 4, 2, 1), (5, 4, 5)),
    "transposed2d": (lambda: nn.ConvTranspose2d(4, 6, 4, 2, 1, groups=2), (5, 4, 4, 4)),
    "transposed3d": (lambda: nn.ConvTranspose3d(4, 6, 2), (5, 4, 2, 3, 2)),
    "linear": (lambda: nn.Linear(4, 6), (5, 4)),
}
LAYER_NORMS = [name for name, norm in NORMS.items() if norm.critic is None]  # what a classifier may have
FOLDABLE = ("none", "bn", "wn", "mean", "sn", "msn", "msn-affine")


def parameter_count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def per_channel(h: torch.Tensor) -> torch.Tensor:
    return h.movedim(1, 0).flatten(1)  # (N, C, ...) -> (C, N * positions)


def set_vectors(layer: nn.Module, u: torch.Tensor, v: torch.Tensor) -> None:
    for _, norm, _ in spectral_norms(layer):
        norm.u.copy_(u)
        norm.v.copy_(v)
