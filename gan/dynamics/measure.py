"""Measure gradients, weights and activations of a network during training, on a copy of it."""

import copy
import math
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gan.dynamics.layers import (
    ActivationMoments,
    Recorder,
    activation_drift,
    hidden_outputs,
    pooled_outputs,
    raw_weight,
    weighted_layers,
)
from gan.dynamics.matrix_stats import has_operator, matrix, operator_norm, singular_values, sparsity, stable_rank
from gan.dynamics.probe_batches import PARTS, Probe
from gan.errors import UserError
from gan.norm import power_iterate

_DIGITS = 6  # significant digits in the file


class DynamicsMeter:
    """Sampler of a network's gradients, weights and activations.

    Make it before the first step: drift is relative to the moments at that time. A sample uses a copy of the network
    in fp32 and training mode, after one power iteration, so that its weights are those of the next step. The network
    itself, its buffers and all random streams stay unchanged.

    Args:
        network: with its initial weights.
        probe: images and loss.
        facts: entries to add to every sample, as `norm` and `kind`.

    Raises:
        UserError: the network cannot be copied.
    """

    def __init__(self, network: nn.Module, probe: Probe, facts: dict[str, Any]) -> None:
        self._network = network
        self._probe = probe
        self._facts = facts
        twin, recorder = self._copy(), Recorder()
        with self._own_random_numbers(), recorder.installed(twin), torch.no_grad():
            for _ in probe.losses(twin, recorder):
                pass
        self._initial: dict[str, ActivationMoments] = recorder.moments()

    def _copy(self) -> nn.Module:
        try:
            twin = copy.deepcopy(self._network).train()
        except RuntimeError as error:  # a tensor with a graph, as of torch's former weight_norm with hooks
            raise UserError(
                "--dynamics: the network cannot be copied, since a norm keeps a computed weight; make it a "
                "parametrization (torch.nn.utils.parametrizations), or leave --dynamics out"
            ) from error
        power_iterate(twin)
        return twin

    def _own_random_numbers(self) -> AbstractContextManager[None]:
        """Restore torch's global random streams after the block: a network of one's own may have dropout."""
        device = next(self._network.parameters()).device
        return torch.random.fork_rng([device] if device.type == "cuda" else [])

    def sample(self, *, full: bool) -> dict[str, Any]:
        """Return the current numbers; numbers that are not finite are None.

        Args:
            full: include all singular values and the operator norms of convolutions, which take longer.
        """
        twin, recorder = self._copy(), Recorder()
        layers = {name: layer for name, layer in weighted_layers(twin).items() if raw_weight(layer).requires_grad}
        gradients = GradientStatistics([raw_weight(layer) for layer in layers.values()])
        loss = 0.0
        with self._own_random_numbers(), recorder.installed(twin):
            for part in self._probe.losses(twin, recorder):
                gradients.add(part)
                loss += part.item() / PARTS
        numbers, spectra = {}, {}
        for number, (name, layer) in enumerate(layers.items()):
            values = singular_values(matrix(raw_weight(layer), layer))
            numbers[name] = {**gradients.numbers(number, layer), **_weight_numbers(layer, values)}
            if full:
                spectra[name] = values.tolist()
                if has_operator(layer) and name in recorder.shapes:  # a network of one's own may leave a layer out
                    c, h, w = recorder.shapes[name]
                    numbers[name]["operator_norm"] = operator_norm(layer, (c, h, w))
        moments = recorder.moments()
        recorded = [name for name in hidden_outputs(twin) if name in moments and name in self._initial]
        activations = {name: activation_drift(moments[name], self._initial[name]) for name in recorded}
        return {
            **self._facts,
            "part": self._probe.size,
            "parts": PARTS,
            "loss": _rounded(loss),
            "layers": _rounded(numbers),
            "activations": _rounded(activations),
            "pooled": pooled_outputs(twin),
            **({"spectra": _rounded(spectra)} if full else {}),
        }


class GradientStatistics:
    """Means and variances of gradients over mini-batches, by Welford's algorithm."""

    def __init__(self, weights: list[nn.Parameter]) -> None:
        self.count = 0
        self._weights = weights
        self._means = [torch.zeros_like(weight) for weight in weights]
        self._squares = [torch.zeros_like(weight) for weight in weights]

    def add(self, loss: Tensor) -> None:
        """Add the gradient of the loss on one mini-batch."""
        self.count += 1
        gradients = torch.autograd.grad(loss, self._weights, materialize_grads=True)
        for mean, square, gradient in zip(self._means, self._squares, gradients, strict=True):
            change = gradient - mean
            mean += change / self.count
            square += change * (gradient - mean)

    def numbers(self, index: int, layer: nn.Module) -> dict[str, float]:
        """Return the numbers of the gradient of weight `index`: its unbiased variance is averaged over all entries."""
        mean, square = self._means[index], self._squares[index]
        zeros, small = sparsity(mean)
        variance = square.double() if square.device.type != "mps" else square
        return {
            "gradient_zeros": zeros,
            "gradient_small": small,
            "gradient_variance": variance.mean().item() / (self.count - 1),
            "gradient_norm": mean.norm().item(),
            "gradient_sigma": singular_values(matrix(mean, layer))[0].item(),
        }


@torch.no_grad()
def _weight_numbers(layer: nn.Module, values: Tensor) -> dict[str, float]:
    """Numbers of a layer's weight, raw and as the layer uses it.

    Args:
        values: singular values of the raw weight.
    """
    raw, sigma = raw_weight(layer), values[0].item()
    used_sigma = sigma
    if parametrize.is_parametrized(layer, "weight"):
        weight = layer.weight
        assert isinstance(weight, Tensor)
        used_sigma = singular_values(matrix(weight, layer))[0].item()
    return {
        "weight_mean": raw.mean().item(),
        "weight_std": raw.std(correction=0).item(),
        "sigma": sigma,
        "stable_rank": stable_rank(values),
        "used_sigma": used_sigma,
    }


def _rounded(value: Any) -> Any:
    """Round the floats in nested dicts and lists; those that are not finite become None."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
