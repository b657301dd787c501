"""Centering and MSN against the equation of the paper."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gan.norm import NORMS, Centering, power_iterate
from tests.helpers.norm_layers import LAYERS, per_channel

torch.manual_seed(0)


@pytest.mark.parametrize("kind", LAYERS)
def test_msn_obeys_its_equation(kind: str) -> None:
    make, shape = LAYERS[kind]
    raw = make().double()
    layer = NORMS["msn"].hidden(copy.deepcopy(raw))
    m = torch.randn(6, dtype=torch.float64)
    layer.double().norm.bias.data.copy_(m)
    x = torch.randn(shape, dtype=torch.float64) + 0.5
    h = layer(x)
    # h̃ = h − E[h] + m with h = W̄ ∗ g and no bias, W̄ from the singular value decomposition
    dim = 1 if kind.startswith("transposed") else 0
    power_iterate(layer, 2000)
    plain = copy.deepcopy(raw)
    plain.weight.data /= torch.linalg.svdvals(raw.weight.detach().movedim(dim, 0).flatten(1))[0]
    plain.bias.data.zero_()
    g = plain(x)
    mean = per_channel(g).mean(1)
    expected = g + (m - mean).view(-1, *(1,) * (g.dim() - 2))
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-8)
    # in training the output has per-channel mean m, whatever u and v are
    torch.testing.assert_close(per_channel(h).mean(1), m, rtol=0, atol=1e-12)


def test_running_mean_is_used_in_evaluation() -> None:
    norm = Centering(3)
    batches = [torch.randn(4, 3, 5, 5) + torch.arange(3.0).view(3, 1, 1) for _ in range(3)]
    running = torch.zeros(3)
    for h in batches:
        norm(h)
        running = 0.9 * running + 0.1 * per_channel(h).mean(1)
    torch.testing.assert_close(norm.running_mean, running)
    norm.eval()
    torch.testing.assert_close(norm(batches[0]), batches[0] - running.view(3, 1, 1))


@pytest.mark.parametrize("name", ["mean", "msn", "msn-affine"])
def test_centering_gradients(name: str) -> None:
    layer = NORMS[name].hidden(nn.Conv2d(2, 3, 3).double()).double()
    x = torch.randn(2, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    for module in (layer, layer.eval()):
        assert torch.autograd.gradcheck(module, x)
        assert torch.autograd.gradgradcheck(module, x)


def test_centering_is_a_projection() -> None:
    """In training, centering over a batch is I − 11ᵀ/N per channel: norm 1, and it removes common shifts."""
    h = torch.randn(6, 2, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(Centering(2).double(), h).reshape(12, 12)
    projection = torch.eye(6, dtype=torch.float64) - 1 / 6
    expected = torch.kron(projection, torch.eye(2, dtype=torch.float64))  # (N, C) flattened, row by row
    torch.testing.assert_close(jacobian, expected, rtol=0, atol=1e-12)
    assert torch.linalg.matrix_norm(jacobian, 2).item() == pytest.approx(1, abs=1e-12)


def test_centering_in_bf16_has_the_mean_of_fp32() -> None:
    """Also for channels with a mean much larger than their spread, and for many positions."""
    generator = torch.Generator().manual_seed(0)
    h = torch.randn(64, 8, 32, 32, generator=generator) * 0.1 + torch.linspace(-3, 3, 8)[:, None, None]
    h = h.bfloat16().contiguous(memory_format=torch.channels_last)
    layer = Centering(8)
    layer(h)
    exact = h.double().mean((0, 2, 3))
    torch.testing.assert_close(layer.running_mean.double(), 0.1 * exact, rtol=5e-4, atol=1e-5)


def test_centering_in_bf16_leaves_nothing_of_equal_numbers() -> None:
    """Constant channels, such as those of dead units."""
    h = torch.tensor([0.3, -1.7, 100.0, 1e-3])[:, None, None].expand(16, 4, 16, 16).bfloat16()
    assert not Centering(4)(h.contiguous(memory_format=torch.channels_last)).any()


@pytest.mark.parametrize("shape", [(4, 12, 6, 6), (3, 5, 7, 3), (2, 1, 4, 4), (6, 2000), (4, 3, 1, 1), (2, 3, 4, 5, 2)])
@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
def test_centering_does_not_depend_on_how_maps_lie_in_memory(
    shape: tuple[int, ...], dtype: torch.dtype, tolerance: float
) -> None:
    """The output also allows an in-place activation."""
    h = torch.randn(shape, dtype=torch.float64) + 1
    probe, m = torch.randn(shape, dtype=torch.float64), torch.randn(shape[1], dtype=torch.float64)
    expected = h - per_channel(h).mean(1).view(-1, *(1,) * (h.dim() - 2)) + m.view(-1, *(1,) * (h.dim() - 2))
    last = h.movedim(1, -1).contiguous().movedim(-1, 1)  # channels vary fastest
    for given in (h.contiguous(), last):
        layer = Centering(shape[1]).to(torch.float64 if dtype == torch.float64 else torch.float32)
        layer.bias.data.copy_(m)
        x = given.to(dtype).requires_grad_()
        y = layer(x)
        assert y.stride() == x.stride()
        torch.testing.assert_close(y.double(), expected, rtol=tolerance, atol=tolerance)
        slope = torch.where(y.detach() > 0, 1.0, 0.5) * probe
        gradient = slope - per_channel(slope).mean(1).view(-1, *(1,) * (h.dim() - 2))
        F.leaky_relu(y, 0.5, inplace=True).backward(probe.to(dtype))
        torch.testing.assert_close(x.grad.double(), gradient, rtol=tolerance, atol=tolerance)
        sums, few = per_channel(slope).sum(1), h.numel() // shape[1]
        torch.testing.assert_close(layer.bias.grad.double(), sums, rtol=tolerance, atol=tolerance * few**0.5)


def test_centering_a_batch_of_one() -> None:
    norm = Centering(3)
    h = torch.randn(1, 3, 4, 4)
    torch.testing.assert_close(norm(h), h - h.mean((2, 3), keepdim=True))


@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 1, 1)])
def test_centering_one_value_uses_the_running_mean(shape: tuple[int, ...]) -> None:
    norm = Centering(3)
    norm.running_mean.copy_(torch.tensor([1.0, 2.0, 3.0]))
    h = torch.full(shape, 5.0, requires_grad=True)
    out = norm(h)
    torch.testing.assert_close(out.flatten(), torch.tensor([4.0, 3.0, 2.0]))
    out.sum().backward()
    torch.testing.assert_close(h.grad, torch.ones(shape))  # the value is not erased
    torch.testing.assert_close(norm.running_mean, torch.tensor([1.4, 2.3, 3.2]))
