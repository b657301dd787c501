"""Spectral normalization against torch's own, the singular values, and its Lipschitz bound."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from gan.norm import NORMS, SpectralNorm, power_iterate, sigmas
from tests.helpers.norm_layers import LAYERS, set_vectors

torch.manual_seed(0)


@pytest.mark.parametrize("kind", LAYERS)
def test_sn_equals_torch(kind: str) -> None:
    make, shape = LAYERS[kind]
    raw = make().double()
    ours = NORMS["sn"].hidden(copy.deepcopy(raw))
    theirs = spectral_norm(copy.deepcopy(raw), n_power_iterations=1)
    theirs.eval()  # so that u and v stay what they are
    set_vectors(ours, theirs.parametrizations.weight[0]._u, theirs.parametrizations.weight[0]._v)
    x = torch.randn(shape, dtype=torch.float64)
    probe = torch.randn_like(raw(x))
    (ours(x) * probe).sum().backward()
    (theirs(x) * probe).sum().backward()
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-10)
    torch.testing.assert_close(
        ours.parametrizations.weight.original.grad, theirs.parametrizations.weight.original.grad, rtol=0, atol=1e-10
    )
    torch.testing.assert_close(ours.bias.grad, theirs.bias.grad, rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", LAYERS)
def test_sigma_reaches_the_largest_singular_value(kind: str) -> None:
    make, _ = LAYERS[kind]
    layer = make().double()
    dim = 1 if kind.startswith("transposed") else 0
    exact = torch.linalg.svdvals(layer.weight.detach().movedim(dim, 0).flatten(1))[0].item()
    layer = NORMS["sn"].hidden(layer)
    power_iterate(layer, 50)
    assert sigmas(layer)[""] == pytest.approx(exact, rel=1e-3)


def test_sigma_follows_a_changed_weight_one_update_at_a_time() -> None:
    layer = NORMS["sn"].hidden(nn.Linear(30, 20).double())
    raw = layer.parametrizations.weight.original
    with torch.no_grad():
        raw.copy_(torch.randn_like(raw))
    exact = torch.linalg.svdvals(raw.detach())[0].item()
    before = abs(sigmas(layer)[""] - exact)
    for _ in range(50):
        power_iterate(layer)
    assert abs(sigmas(layer)[""] - exact) < min(1e-3 * exact, before)


def test_gradient_flows_through_sigma() -> None:
    norm = SpectralNorm(torch.randn(3, 2, 2, 2, dtype=torch.float64))
    weight = torch.randn(3, 2, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(norm, weight)
    assert torch.autograd.gradgradcheck(norm, weight)
    # W̄ does not change along W itself: the gradient is orthogonal to W only if σ is differentiated too.
    norm.iterate(weight, 1)
    (grad,) = torch.autograd.grad((norm(weight) * torch.randn(3, 2, 2, 2, dtype=torch.float64)).sum(), weight)
    assert abs((grad * weight).sum().item()) < 1e-12


@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_sn_does_not_depend_on_how_weights_lie_in_memory(kind: type[nn.Module]) -> None:
    plain = NORMS["sn"].hidden(kind(3, 4, (2, 3)).double())
    last = copy.deepcopy(plain).to(memory_format=torch.channels_last)
    x = torch.randn(2, 3, 5, 6, dtype=torch.float64)
    for layer in (plain, last):
        power_iterate(layer, 3)
        layer(x).square().sum().backward()
    torch.testing.assert_close(plain.state_dict(), last.state_dict(), rtol=1e-12, atol=1e-12)
    ours, theirs = (layer.parametrizations.weight.original.grad for layer in (last, plain))
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_power_iteration_between_forward_and_backward_is_harmless() -> None:
    layer = NORMS["sn"].hidden(nn.Linear(4, 3).double())
    raw = layer.parametrizations.weight.original
    x = torch.randn(2, 4, dtype=torch.float64)
    (expected,) = torch.autograd.grad(layer(x).sum(), raw)
    y = layer(x).sum()
    power_iterate(layer)
    (grad,) = torch.autograd.grad(y, raw)
    torch.testing.assert_close(grad, expected, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["sn", "msn"])
@pytest.mark.parametrize("training", [True, False])
def test_lipschitz_bound(name: str, training: bool) -> None:
    """‖layer‖ ≤ ‖W̄‖ of the flattened weight: as a linear layer, on whole batches, in both modes."""
    generator = torch.Generator().manual_seed(1)
    layer = NORMS[name].hidden(nn.Linear(12, 8).double()).double()
    power_iterate(layer, 500)
    layer.train()
    layer(torch.randn(16, 12, dtype=torch.float64, generator=generator) + 3)  # a running mean that is not zero
    layer.train(training)
    linear = layer.layer if name == "msn" else layer
    bound = torch.linalg.matrix_norm(linear.weight.detach(), 2).item()
    assert bound == pytest.approx(1, abs=1e-9)
    largest = 0.0
    for _ in range(200):
        a = torch.randn(16, 12, dtype=torch.float64, generator=generator)
        # differences of one direction as well as random ones: the bound is reached where all samples move apart
        b = a + torch.randn(16, 1, dtype=torch.float64, generator=generator) * linear.weight.detach()[:1]
        for other in (b, torch.randn(16, 12, dtype=torch.float64, generator=generator)):
            largest = max(largest, ((layer(a) - layer(other)).norm() / (a - other).norm()).item())
    assert 0.3 < largest <= bound * (1 + 1e-9)


@pytest.mark.parametrize("training", [True, False])
def test_lipschitz_bound_of_a_convolution(training: bool) -> None:
    """Without overlapping patches, the operator norm of a convolution is that of its flattened weight."""
    layer = NORMS["msn"].hidden(nn.Conv2d(3, 5, 2, stride=2).double()).double()
    power_iterate(layer, 500)
    layer(torch.randn(4, 3, 8, 8, dtype=torch.float64) + 2)
    layer.train(training)
    bound = torch.linalg.matrix_norm(layer.layer.weight.detach().flatten(1), 2).item()
    for _ in range(100):
        a, b = torch.randn(2, 4, 3, 8, 8, dtype=torch.float64)
        assert (layer(a) - layer(b)).norm() <= bound * (a - b).norm() * (1 + 1e-9)


@pytest.mark.parametrize("training", [True, False])
def test_where_patches_overlap_the_bound_has_a_factor(training: bool) -> None:
    """With stride 1 each pixel is in k_h * k_w patches: the norm is at most √(k_h k_w) ‖W̄‖, and may be above ‖W̄‖."""
    layer = NORMS["msn"].hidden(nn.Conv2d(1, 1, 3, padding=1).double()).double()
    nn.init.ones_(layer.layer.parametrizations.weight.original)
    power_iterate(layer, 50)
    layer.train(training)
    checks = torch.ones(2, 1, 12, 12, dtype=torch.float64)
    checks[1] = -1  # a difference that centering over the batch keeps
    ratio = ((layer(checks) - layer(torch.zeros_like(checks))).norm() / checks.norm()).item()
    assert 2.5 < ratio <= 3
