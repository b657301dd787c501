"""Centering of convolutions with few input channels, whose E[h] is computed from their input."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan.nn.convolutions import Conv2d, PooledConv2d, UpsampledConv2d
from gan.norm import NORMS, Normalized, power_iterate

LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "conv1d": (lambda: nn.Conv1d(1, 6, 3, padding=1), (9, 1, 7)),
    "conv2d": (lambda: nn.Conv2d(1, 5, 3, padding=1, bias=False), (8, 1, 6, 5)),
    "strided": (lambda: nn.Conv2d(1, 17, 4, stride=2, padding=1), (8, 1, 6, 6)),
    "reflected": (lambda: nn.Conv2d(1, 4, 3, padding=1, padding_mode="reflect"), (8, 1, 6, 6)),
    "conv3d": (lambda: nn.Conv3d(1, 4, 2), (8, 1, 3, 4, 3)),
    "ours": (lambda: Conv2d(3, 12, 3, padding=1), (8, 3, 6, 6)),
    "pooled": (lambda: PooledConv2d(3, 12), (8, 3, 6, 6)),
    "upsampled": (lambda: UpsampledConv2d(3, 12), (8, 3, 4, 4)),
    "one position": (lambda: nn.Conv2d(1, 4, 3), (8, 1, 3, 3)),
}


def both(name: str, kind: str) -> tuple[nn.Module, nn.Module, Tensor]:
    """The layer, an equal one as a plain `Normalized`, and an input, all in float64."""
    make, shape = LAYERS[kind]
    torch.manual_seed(0)
    layer = NORMS[name].hidden(make()).double()
    assert isinstance(layer, Normalized) and type(layer) is not Normalized
    layer.norm.bias.data.normal_()
    power_iterate(layer, 3)
    plain = copy.deepcopy(layer)
    plain.__class__ = Normalized
    return layer, plain, torch.randn(shape, dtype=torch.float64) + 0.5


@pytest.mark.parametrize("name", ["mean", "msn"])
@pytest.mark.parametrize("kind", LAYERS)
def test_it_is_the_same_function_with_the_same_gradients(name: str, kind: str) -> None:
    layer, plain, x = both(name, kind)
    results = []
    for module in (layer, plain):
        given = x.clone().requires_grad_()
        h = module(given)
        assert h.is_leaf is False
        loss = F.leaky_relu(h, 0.3).square().sum()
        # of third order, as for a gradient penalty
        (first,) = torch.autograd.grad(loss, given, create_graph=True)
        (first.square().sum() + loss).backward()
        weights = [parameter.grad for parameter in module.parameters()]
        results.append([h.detach(), first.detach(), given.grad, *weights, module.norm.running_mean])
    torch.testing.assert_close(results[0], results[1], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(layer.eval()(x), plain.eval()(x), rtol=0, atol=1e-12)


def test_the_gradient_is_that_of_differences() -> None:
    layer, _, x = both("msn", "conv2d")
    assert torch.autograd.gradcheck(layer, x.requires_grad_())
    assert torch.autograd.gradgradcheck(layer, x)


def test_small_batches_and_other_layers_are_centred_as_any() -> None:
    """A single value per channel is not erased by centering."""
    layer, plain, x = both("msn", "one position")
    torch.testing.assert_close(layer(x[:1]), plain(x[:1]), rtol=0, atol=0)
    assert (layer(x[:1]) - layer.norm.bias.view(-1, 1, 1)).abs().max() > 0.01
    for other in (nn.Conv2d(2, 7, 3), nn.Conv2d(1, 8, 3, stride=2), nn.Linear(2, 8), nn.ConvTranspose2d(1, 8, 3)):
        assert type(NORMS["msn"].hidden(other)) is Normalized


@pytest.mark.parametrize("name", ["mean", "msn"])
def test_under_autocast(name: str) -> None:
    """Also for means much larger than the spread, which dominate the rounding of the weight's gradient in bf16."""
    layer = NORMS[name].hidden(nn.Conv2d(3, 16, 3, padding=1))
    plain, exact = copy.deepcopy(layer), copy.deepcopy(layer).double()
    plain.__class__ = Normalized
    x = (torch.randn(16, 3, 12, 12) * 0.1 + 0.9).bfloat16().float()
    found: list[list[Tensor]] = []
    for module, given in ((layer, x), (plain, x), (exact, x.double())):
        given = given.clone().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=module is not exact):
            h = module(given)
        assert h.dtype == (torch.float64 if module is exact else torch.bfloat16)
        F.leaky_relu(h.double(), 0.1).square().sum().backward()
        gradients = [given.grad, *(parameter.grad for parameter in module.parameters())]
        found.append([value.double() for value in (h.detach(), module.norm.running_mean, *gradients)])
    for ours, theirs, right in zip(*found, strict=True):
        assert (ours - right).norm() <= 2.5 * (theirs - right).norm() + 1e-3 * right.norm()
        assert (ours - right).norm() <= 0.02 * right.norm()
