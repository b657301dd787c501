"""Layers by names that do not depend on the normalization, and moments of their outputs."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
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
    """Return every linear layer, embedding and convolution by name, in the order of construction."""
    layers: dict[str, nn.Module] = {}
    for path, module in network.named_modules():
        if isinstance(module, _WEIGHTED):
            wrapped = _in_normalized(network, path)
            layers[path.removesuffix(".layer") if wrapped else path] = module
    return layers


def raw_weight(layer: nn.Module) -> nn.Parameter:
    """Return the weight that the optimizer updates: W under spectral norm, the direction v under weight norm."""
    if parametrize.is_parametrized(layer, "weight"):  # whose `weight` would be computed
        stored: Any = layer.parametrizations["weight"]  # type: ignore[index]
        weight = stored.original1 if hasattr(stored, "original1") else stored.original
    else:
        weight = layer.weight
    assert isinstance(weight, nn.Parameter)
    return weight


def hidden_outputs(network: nn.Module) -> dict[str, nn.Module]:
    """Return the modules whose outputs are pre-activations: each convolution with its normalization.

    Where norms are separate from convolutions and normalize the outputs of several (a DenseNet under bn, ln or in),
    they replace the convolutions without a norm of their own, because every activation follows one of them.
    """
    normalized, bare, norms = {}, {}, {}
    for path, module in network.named_modules():
        if isinstance(module, Normalized) and isinstance(module.layer, _ConvNd):
            normalized[path] = module
        elif isinstance(module, _ConvNd) and not _in_normalized(network, path):
            bare[path] = module
        elif isinstance(module, _NORMS) and not _in_normalized(network, path):
            norms[path] = module
    return {**normalized, **(norms or bare)}


def pooled_outputs(network: nn.Module) -> list[str]:
    """Return the names of those `hidden_outputs` that follow a 2×2 mean merged with the convolution."""
    outputs = hidden_outputs(network).items()
    return [name for name, module in outputs if isinstance(getattr(module, "layer", module), PooledConv2d)]


def _in_normalized(network: nn.Module, path: str) -> bool:
    return isinstance(network.get_submodule(path.rpartition(".")[0]), Normalized)


@dataclass(frozen=True, eq=False)
class ActivationMoments:
    """Mean and standard deviation of each channel over samples and positions, float64 (C,) on the CPU."""

    mean: Tensor
    std: Tensor


class Recorder:
    """Record input shapes and output moments of a network's layers, while it is installed.

    `shapes` has the shape (C, H, W) of each weighted layer's last input. `moments` covers all outputs in blocks of
    `first`, whose batches must have equal sizes.
    """

    def __init__(self) -> None:
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._moments: dict[str, list[Tensor]] = {}
        self._count: int | None = None

    @contextmanager
    def installed(self, network: nn.Module) -> Iterator[None]:
        """Record a network's forward passes in the block."""
        # `get_submodule`: a `Normalized` has the same input as its layer, but may not call it as a module.
        handles = [
            network.get_submodule(name).register_forward_pre_hook(partial(self._record_shape, name))
            for name in weighted_layers(network)
        ]
        handles += [
            module.register_forward_hook(partial(self._record_moments, name))
            for name, module in hidden_outputs(network).items()
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    @contextmanager
    def first(self, count: int) -> Iterator[None]:
        """Include the first `count` samples of each batch in the moments, in the block."""
        self._count = count
        try:
            yield
        finally:
            self._count = None

    def moments(self) -> dict[str, ActivationMoments]:
        """Return the moments of each hidden layer."""
        moments = {}
        for name, parts in self._moments.items():
            variances, means = torch.stack(parts).cpu().double().unbind(1)  # (parts, C) each
            mean = means.mean(0)
            # Total variance of parts of equal sizes: the mean within parts plus the variance between their means.
            moments[name] = ActivationMoments(mean, (variances.mean(0) + means.var(0, correction=0)).sqrt())
        return moments

    def _record_shape(self, name: str, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self.shapes[name] = tuple(inputs[0].shape[1:])

    @torch.no_grad()
    def _record_moments(self, name: str, module: nn.Module, inputs: Any, output: Tensor) -> None:
        if self._count is not None:
            channels = output[: self._count].transpose(0, 1).flatten(1)  # (N, C, H, W) -> (C, N*H*W)
            self._moments.setdefault(name, []).append(torch.stack(torch.var_mean(channels, 1, correction=0)))


def activation_drift(now: ActivationMoments, before: ActivationMoments) -> dict[str, float]:
    """Compare the moments of a layer with their initial values; means over the channels c that vary.

    `drift` is |μ_c − μ_c(0)| / s_c(0), in initial standard deviations; `offset` is |μ_c| / s_c, the distance from 0 in
    current ones; `spread` is s_c / s_c(0). NaN where no channel varies.
    """
    varied, varies = before.std > 0, now.std > 0
    return {
        "drift": ((now.mean - before.mean).abs() / before.std)[varied].mean().item(),
        "offset": (now.mean.abs() / now.std)[varies].mean().item(),
        "spread": (now.std / before.std)[varied].mean().item(),
    }
