"""Power iteration of all norms of a network, and their current σ."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from .bidirectional import BidirectionalSpectralNorm
from .convolution_norm import ConvolutionSpectralNorm
from .spectral import DividedBySigma, SpectralNorm, iterate_batch


def spectral_norms(network: nn.Module) -> Iterator[tuple[str, SpectralNorm, Tensor]]:
    """Yield (name of the layer, SpectralNorm, raw weight) for each spectrally normalized weight of a network."""
    for name, norm, weights in _parametrizations(network):
        if isinstance(norm, SpectralNorm):
            yield name, norm, weights[0]


@torch.no_grad()
def power_iterate(network: nn.Module, iterations: int = 1) -> None:
    """Update the state of every norm of a network. Call it once before each training update of the network.

    Norms of other packages take part in it:

    - A parametrization of a layer's weight with a method `iterate(weight)` is called with the raw weight, the
      parameter. If torch stores several tensors for it, they are its arguments, as those of its `forward`.
    - Any other module with a method `iterate()` is called without arguments, except parts of a parametrization.

    The methods run without gradients. They should update buffers in place, so that a CUDA graph can include them.

    Args:
        iterations: number of updates.
    """
    spectral: list[tuple[SpectralNorm, Tensor]] = []
    others: list[tuple[Callable[..., object], list[Tensor]]] = []
    parts: set[nn.Module] = set()
    for _, norm, weights in _parametrizations(network):
        parts.update(norm.modules())
        if isinstance(norm, SpectralNorm):
            spectral.append((norm, weights[0]))
        elif isinstance(norm, BidirectionalSpectralNorm):
            spectral += [(part, weights[0]) for part in norm.norms()]
        elif callable(iterate := getattr(norm, "iterate", None)):
            others.append((iterate, weights))
    for module in network.modules():
        # Our own norms need a weight: one that is no parametrization is left to the module that has it.
        # The class is asked first: a module looks for an absent attribute among its parameters and buffers too.
        if hasattr(type(module), "iterate") and module not in parts:
            if not isinstance(module, (SpectralNorm, DividedBySigma)):
                others.append((module.iterate, []))  # type: ignore[arg-type]
    iterate_batch(spectral, iterations)
    for _ in range(iterations):
        for update, weights in others:
            update(*weights)


@torch.no_grad()
def sigmas(network: nn.Module) -> dict[str, float]:
    """Return the current estimate σ(W) of every layer that is divided by one, by the layer's name.

    For `bidirectional_spectral_norm` it is the mean of both. A convolution under `convolution_spectral_norm` that was
    never called has none.
    """
    values = {}
    for name, norm, weights in _parametrizations(network):
        if isinstance(norm, ConvolutionSpectralNorm) and norm.input_size is None:
            continue
        if isinstance(norm, (SpectralNorm, DividedBySigma)):
            values[name] = norm.sigma(weights[0])
    # One copy from the device for all layers.
    return dict(zip(values, torch.stack(list(values.values())).tolist(), strict=True)) if values else {}


def _parametrizations(network: nn.Module) -> Iterator[tuple[str, nn.Module, list[Tensor]]]:
    """Yield (name of the layer, parametrization, stored tensors) for each parametrization of a network."""
    for name, module in network.named_modules():
        if not parametrize.is_parametrized(module):
            continue
        for stored in module.parametrizations.values():
            weights = (
                [stored.original]
                if stored.is_tensor
                else [getattr(stored, f"original{i}") for i in range(stored.ntensors)]
            )
            for parametrization in stored:
                yield name, parametrization, weights
