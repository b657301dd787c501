"""The layers of a network under any normalization, by names that do not depend on it, and moments of what they give."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils import parametrize

from gan.nn.convolutions import PooledConv2d
from gan.norm import Centering, Normalized

_WEIGHTED = (nn.Linear, nn.Embedding, _ConvNd)
_NORMS = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm, nn.GroupNorm, Centering)


def weighted_layers(network: nn.Module) -> dict[str, nn.Module]:
    """Every linear layer, embedding and convolution by name, in the order in which they were built."""
    found: dict[str, nn.Module] = {}
    for path, module in network.named_modules():
        if isinstance(module, _WEIGHTED):
            wrapped = _inside(network, path)
            found[path.removesuffix(".layer") if wrapped else path] = module
    return found


def raw_weight(layer: nn.Module) -> nn.Parameter:
    """The weight that the optimizer moves: W of a spectrally normalized layer, the direction v of a weight norm."""
    if not parametrize.is_parametrized(layer, "weight"):
        weight = layer.weight
    else:
        stored: Any = layer.parametrizations["weight"]  # type: ignore[index]
        weight = stored.original1 if hasattr(stored, "original1") else stored.original
    assert isinstance(weight, nn.Parameter)
    return weight


def hidden_outputs(network: nn.Module) -> dict[str, nn.Module]:
    """The modules that give pre-activations: each convolution with its normalization.

    Where norms stand apart from convolutions and normalize what several of them gave (a DenseNet under bn, ln or in),
    they take the place of the convolutions that have no norm of their own: nothing enters an activation but by them.
    """
    found, bare, apart = {}, {}, {}
    for path, module in network.named_modules():
        if isinstance(module, Normalized) and isinstance(module.layer, _ConvNd):
            found[path] = module
        elif isinstance(module, _ConvNd) and not _inside(network, path):
            bare[path] = module
        elif isinstance(module, _NORMS) and not _inside(network, path):
            apart[path] = module
    return {**found, **(apart or bare)}


def pooled_outputs(network: nn.Module) -> list[str]:
    """Those of `hidden_outputs` that are given after a 2×2 mean, which is merged with the convolution."""
    found = hidden_outputs(network).items()
    return [
        name
        for name, module in found
        if isinstance(module.layer if isinstance(module, Normalized) else module, PooledConv2d)
    ]


def _inside(network: nn.Module, path: str) -> bool:
    """Whether a module is the layer or the norm of a `Normalized`."""
    return isinstance(network.get_submodule(path.rpartition(".")[0]), Normalized)


@dataclass(frozen=True, eq=False)
class ActivationMoments:
    """Mean and standard deviation of each channel, over samples and positions; float64 (C,) on the CPU."""

    mean: Tensor
    std: Tensor


class Recorder:
    """Sees what the layers of a network are given and give, while it is installed.

    `shapes` has the shape (C, H, W) of each weighted layer's last input. `moments` takes together all outputs that
    were seen in blocks of `first`; those must be of one size.
    """

    def __init__(self) -> None:
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._seen: dict[str, list[Tensor]] = {}
        self._count: int | None = None

    @contextmanager
    def installed(self, network: nn.Module) -> Iterator[None]:
        """See a network's forward passes in the block."""
        # A `Normalized` is given what its layer is, but may not call it as a module.
        handles = [
            network.get_submodule(name).register_forward_pre_hook(self._input_hook(name))
            for name in weighted_layers(network)
        ]
        handles += [
            module.register_forward_hook(self._output_hook(name)) for name, module in hidden_outputs(network).items()
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    @contextmanager
    def first(self, count: int) -> Iterator[None]:
        """In the block, the first samples of each batch are counted to the moments."""
        self._count = count
        try:
            yield
        finally:
            self._count = None

    def moments(self) -> dict[str, ActivationMoments]:
        """Of each hidden layer."""
        found = {}
        for name, parts in self._seen.items():
            variances, means = torch.stack(parts).cpu().double().unbind(1)  # (parts, C) each
            mean = means.mean(0)
            # Parts are of one size, so the variance is that within them and that of their means.
            found[name] = ActivationMoments(mean, (variances.mean(0) + means.var(0, correction=0)).sqrt())
        return found

    def _input_hook(self, name: str) -> Any:
        def see(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            self.shapes[name] = tuple(inputs[0].shape[1:])

        return see

    def _output_hook(self, name: str) -> Any:
        @torch.no_grad()
        def see(module: nn.Module, inputs: Any, output: Tensor) -> None:
            if self._count is not None:
                counted = output[: self._count].transpose(0, 1).flatten(1)  # (N, C, H, W) -> (C, N*H*W)
                self._seen.setdefault(name, []).append(torch.stack(torch.var_mean(counted, 1, correction=0)))

        return see


def activation_drift(now: ActivationMoments, before: ActivationMoments) -> dict[str, float]:
    """How far the channels of a layer have moved, each number a mean over those channels c that vary at all.

    `drift` is |μ_c − μ_c(0)| / s_c(0), in standard deviations at initialisation; `offset` is |μ_c| / s_c, the distance
    from 0 in present ones; `spread` is s_c / s_c(0). NaN where no channel varies.
    """
    began, there = before.std > 0, now.std > 0
    return {
        "drift": ((now.mean - before.mean).abs() / before.std)[began].mean().item(),
        "offset": (now.mean.abs() / now.std)[there].mean().item(),
        "spread": (now.std / before.std)[began].mean().item(),
    }
