"""Common properties of all normalizations: state, parameters, precision, and the treatment of output layers."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gan.norm import NORMS, power_iterate, settle_input_sizes, sigmas, spectral_norms
from tests.helpers.norm_layers import LAYERS, parameter_count

torch.manual_seed(0)


@pytest.mark.parametrize("name", NORMS)
def test_state_moves_only_in_training(name: str) -> None:
    layer = NORMS[name].hidden(nn.Conv2d(3, 5, 3))
    x = torch.randn(4, 3, 6, 6) + 1
    layer.eval()
    settle_input_sizes(layer, x)
    before = copy.deepcopy(layer.state_dict())
    layer(x)
    torch.testing.assert_close(layer.state_dict(), before, rtol=0, atol=0)
    layer.train()
    layer(x)
    moved = any(not torch.equal(value, before[key]) for key, value in layer.state_dict().items())
    assert moved == (name in ("bn", "mean", "affine-mean", "msn", "msn-affine"))  # u and v wait for power_iterate
    power_iterate(layer)
    for _, norm, _ in spectral_norms(layer):
        assert norm.u.norm().item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize("kind", LAYERS)
def test_state_dict_round_trip(name: str, kind: str) -> None:
    make, shape = LAYERS[kind]
    first, second = NORMS[name].hidden(make()), NORMS[name].hidden(make())
    x = torch.randn(shape)
    first(x)
    power_iterate(first, 2)
    second.load_state_dict(first.state_dict(), strict=True)
    torch.testing.assert_close(second.eval()(x), first.eval()(x), rtol=0, atol=0)


@pytest.mark.parametrize("kind", LAYERS)
def test_parameter_counts(kind: str) -> None:
    make, _ = LAYERS[kind]
    count = {name: parameter_count(norm.hidden(make())) for name, norm in NORMS.items()}
    channels, with_bias = 6, parameter_count(make())
    assert count["none"] == count["sn"] == count["msn"] == count["mean"] == with_bias
    assert count["bn"] - count["msn"] == channels  # convolution without a bias
    bn_with_bias = with_bias + 2 * channels
    assert bn_with_bias - count["msn"] == 2 * channels
    assert count["msn-affine"] == with_bias + channels == count["bn"]
    lengths = make().weight.shape[1 if kind.startswith("transposed") else 0]  # a group's channels share theirs
    assert count["wn"] == with_bias + lengths


@pytest.mark.parametrize("name", NORMS)
def test_output_layer_is_never_centred(name: str) -> None:
    layer = NORMS[name].output(nn.Linear(4, 1))
    assert isinstance(layer, nn.Linear)
    assert bool(sigmas(layer)) == (name in ("sn", "bssn", "sn-conv", "msn", "msn-affine"))


@pytest.mark.parametrize("name", NORMS)
def test_bf16_autocast(name: str) -> None:
    layer = NORMS[name].hidden(nn.Conv2d(3, 8, 3))
    last = NORMS[name].output(nn.Linear(8, 1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        power_iterate(layer)
        y = last(layer(torch.randn(4, 3, 8, 8) * 100).mean((2, 3)))
        for _, norm, weight in spectral_norms(layer):
            sigma = norm.sigma(weight)
            assert sigma.dtype == torch.float32
            exact = norm.u.double() @ weight.detach().double().flatten(1) @ norm.v.double()
            assert sigma.item() == pytest.approx(exact.item(), rel=1e-6)
            assert norm.u.dtype == torch.float32
    assert y.dtype == torch.bfloat16
    y.float().sum().backward()
    for parameter in layer.parameters():
        assert parameter.dtype == torch.float32
        assert parameter.grad is not None and parameter.grad.isfinite().all()
    for buffer in layer.buffers():
        assert buffer.isfinite().all()


def test_raw_weights_do_not_depend_on_the_norm() -> None:
    weights = {}
    for name, norm in NORMS.items():
        torch.manual_seed(3)
        layers = [norm.hidden(nn.Conv2d(2, 3, 3)), norm.hidden(nn.Conv2d(3, 3, 3)), norm.output(nn.Linear(3, 1))]
        weights[name] = [
            next(
                p
                for key, p in layer.named_parameters()
                if p.numel() > 3 or isinstance(layer, nn.Linear) and p.dim() > 1
            )
            for layer in layers
        ]
    for name in NORMS:
        if name == "wn":
            continue  # stores length and direction instead; its weight is compared below
        for ours, plain in zip(weights[name], weights["none"], strict=True):
            torch.testing.assert_close(ours, plain, rtol=0, atol=0)
    raw = nn.Conv2d(2, 3, 3)
    torch.testing.assert_close(NORMS["wn"].hidden(copy.deepcopy(raw)).weight, raw.weight)


@pytest.mark.parametrize("name", NORMS)
def test_double_backward(name: str) -> None:
    """Gradient penalties differentiate the gradient: it must reach every parameter of the output."""
    network = nn.Sequential(
        NORMS[name].hidden(nn.Conv2d(2, 4, 3)), nn.Tanh(), nn.Flatten(), NORMS[name].output(nn.Linear(4 * 16, 1))
    )
    x = torch.randn(3, 2, 6, 6, requires_grad=True)
    (grad,) = torch.autograd.grad(network(x).sum(), x, create_graph=True)
    grad.square().sum().backward()
    for key, parameter in network.named_parameters():
        if not key.endswith("3.bias"):
            assert parameter.grad is not None and parameter.grad.isfinite().all(), key


def test_a_layer_of_another_kind_is_refused() -> None:
    with pytest.raises(TypeError, match="Embedding"):
        NORMS["msn"].hidden(nn.Embedding(3, 4))


def test_norms_of_linear_layers_normalize_features() -> None:
    x = torch.randn(5, 4)
    for name in ("ln", "in"):
        layer = NORMS[name].hidden(nn.Linear(4, 6))
        expected = F.layer_norm(layer.layer(x), (6,))
        torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-5)
