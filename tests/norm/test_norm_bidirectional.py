"""Bidirectional spectral normalization against singular values of both flattenings."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from gan.norm import bidirectional_spectral_norm, power_iterate, sigmas, spectral_norm
from tests.helpers.norm_layers import LAYERS
from tests.helpers.weight_maps import flattened, largest

GROUPED = {"grouped": (lambda: nn.Conv2d(4, 6, 3, groups=2), (2, 4, 5, 5))}


@pytest.mark.parametrize("kind", [*LAYERS, *GROUPED])
def test_it_divides_by_the_mean_of_both(kind: str) -> None:
    make, _ = (LAYERS | GROUPED)[kind]
    torch.manual_seed(0)
    raw = make().double()
    layer = bidirectional_spectral_norm(copy.deepcopy(raw), 1.3)
    power_iterate(layer, 500)
    sigma = (largest(flattened(raw.weight, 0)) + largest(flattened(raw.weight, 1))) / 2
    torch.testing.assert_close(layer.weight, 1.3 * raw.weight / sigma, rtol=1e-9, atol=1e-12)
    assert sigmas(layer)[""] == pytest.approx(sigma, rel=1e-9)


def test_the_gradient_flows_through_both() -> None:
    """W̄ does not change along W itself."""
    layer = bidirectional_spectral_norm(nn.Conv2d(3, 4, 3).double())
    raw = layer.parametrizations.weight.original
    (layer.weight * torch.randn(4, 3, 3, 3, dtype=torch.float64)).sum().backward()
    assert abs((raw.grad * raw).sum().item()) < 1e-12
    sigma = layer.parametrizations.weight[0].estimate(raw)
    (gradient,) = torch.autograd.grad(sigma, raw)
    parts = [
        torch.outer(norm.u, norm.v).view([raw.shape[d] for d in (norm.dim, *{0, 1, 2, 3} - {norm.dim})])
        for norm in layer.parametrizations.weight[0].norms()
    ]
    torch.testing.assert_close(gradient, (parts[0] + parts[1].transpose(0, 1)) / 2, rtol=1e-12, atol=1e-14)


def test_an_update_is_one_iteration_of_each() -> None:
    torch.manual_seed(0)
    raw = nn.Conv2d(3, 4, 3).double()
    layer, other = bidirectional_spectral_norm(copy.deepcopy(raw)), bidirectional_spectral_norm(copy.deepcopy(raw))
    first, second = other.parametrizations.weight[0].norms()
    power_iterate(layer)
    first.iterate(raw.weight)
    second.iterate(raw.weight)
    torch.testing.assert_close(layer.state_dict(), other.state_dict(), rtol=0, atol=0)


def test_for_a_linear_layer_it_is_spectral_norm() -> None:
    torch.manual_seed(0)
    raw = nn.Linear(5, 3)
    ours, theirs = bidirectional_spectral_norm(copy.deepcopy(raw), 2.0), spectral_norm(copy.deepcopy(raw), 2.0)
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=0, atol=0)
    assert torch.equal(ours.weight, theirs.weight)
