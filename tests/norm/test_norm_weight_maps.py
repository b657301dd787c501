"""Common properties of the weight maps: raw weights, state, precision, gradients of any order, folding."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from gan.dynamics.layers import raw_weight
from gan.export.folding import fold_to_plain_layers
from gan.norm import (
    Normalized,
    compose,
    fold,
    power_iterate,
    settle_input_sizes,
    sigmas,
    spectral_norms,
    weight_norm,
)
from gan.norm.feature_norms import batch_norm, mean
from tests.helpers.norm_layers import LAYERS
from tests.helpers.weight_maps import MAPS


def layer_and_input(name: str, kind: str, dtype: torch.dtype = torch.float64) -> tuple[nn.Module, torch.Tensor]:
    make, shape = LAYERS[kind]
    torch.manual_seed(0)
    layer, x = MAPS[name](make().to(dtype)), torch.randn(shape, dtype=dtype)
    layer(x)
    return layer, x


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("kind", LAYERS)
def test_the_raw_weight_is_that_of_the_plain_layer(name: str, kind: str) -> None:
    layer, _ = layer_and_input(name, kind)
    after = torch.rand(3)
    torch.manual_seed(0)
    plain = LAYERS[kind][0]().double()
    torch.randn(LAYERS[kind][1], dtype=torch.float64)
    torch.testing.assert_close(raw_weight(layer), plain.weight, rtol=0, atol=0)
    assert torch.equal(after, torch.rand(3))  # the global random state is that of the plain layer
    assert raw_weight(layer) is layer.parametrizations.weight.original
    assert layer.weight.shape == plain.weight.shape and layer.weight.dtype == torch.float64


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("kind", ["conv2d", "transposed2d", "linear"])
def test_gradients_of_first_second_and_third_order(name: str, kind: str) -> None:
    layer, _ = layer_and_input(name, kind)
    norm, weight = layer.parametrizations.weight[0], raw_weight(layer).detach().requires_grad_()
    assert torch.autograd.gradcheck(norm, weight)
    assert torch.autograd.gradgradcheck(norm, weight)
    probe = torch.randn_like(weight)

    def slope(w: torch.Tensor) -> torch.Tensor:  # of a function whose third derivative is not zero
        loss = (norm(w).tanh() * probe).sum()
        return torch.autograd.grad(loss, w, create_graph=True)[0]

    assert torch.autograd.gradgradcheck(slope, weight, atol=1e-4)


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("kind", LAYERS)
def test_state_is_saved_and_resumed_exactly(name: str, kind: str) -> None:
    layer, x = layer_and_input(name, kind)
    power_iterate(layer)
    fresh = MAPS[name](LAYERS[kind][0]().double())
    fresh.load_state_dict(copy.deepcopy(layer.state_dict()), strict=True)  # never called
    for _ in range(2):
        torch.testing.assert_close(fresh(x), layer(x), rtol=0, atol=0)
        power_iterate(layer)
        power_iterate(fresh)
    torch.testing.assert_close(fresh.state_dict(), layer.state_dict(), rtol=0, atol=0)
    assert sigmas(fresh) == sigmas(layer)
    for module in (copy.deepcopy(layer), fold(layer)):
        torch.testing.assert_close(module(x), layer(x), rtol=0, atol=1e-12)
    assert type(fold(layer)) is type(LAYERS[kind][0]()) and not fold(layer)._forward_pre_hooks


@pytest.mark.parametrize("name", MAPS)
def test_power_iteration_between_forward_and_backward_is_harmless(name: str) -> None:
    layer, x = layer_and_input(name, "conv2d")
    (expected,) = torch.autograd.grad(layer(x).square().sum(), raw_weight(layer))
    y = layer(x).square().sum()
    power_iterate(layer)
    (gradient,) = torch.autograd.grad(y, raw_weight(layer))
    torch.testing.assert_close(gradient, expected, rtol=0, atol=0)


@pytest.mark.parametrize("name", MAPS)
def test_bf16_autocast_rounds_the_weight_once(name: str) -> None:
    layer, x = layer_and_input(name, "conv2d", torch.float32)
    exact = layer.weight.detach()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        power_iterate(copy.deepcopy(layer))
        assert torch.equal(layer.weight, exact.bfloat16())
        y = layer(x)
        x.requires_grad_()
        (slope,) = torch.autograd.grad(layer(x).float().tanh().sum(), x, create_graph=True)
        (slope.float().square().sum() + y.float().square().sum()).backward()
    assert y.dtype == torch.bfloat16
    for parameter in layer.parameters():
        assert parameter.dtype == torch.float32 and parameter.grad is not None and parameter.grad.isfinite().all()
    assert all(buffer.dtype == torch.float32 for buffer in layer.buffers())


@pytest.mark.parametrize("name", MAPS)
def test_layers_in_bf16_have_their_state_in_fp32(name: str) -> None:
    layer, x = layer_and_input(name, "conv2d", torch.bfloat16)
    power_iterate(layer)
    assert layer.weight.dtype == layer(x).dtype == torch.bfloat16
    assert all(buffer.dtype == torch.float32 for buffer in layer.buffers())


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("kind", [*LAYERS, "embedding"])
def test_meta_device(name: str, kind: str) -> None:
    make, shape = LAYERS.get(kind, (lambda: nn.Embedding(5, 4), (3,)))
    layer = MAPS[name](make().to("meta"))
    x = torch.zeros(shape, device="meta", dtype=torch.long if kind == "embedding" else None)
    y = layer(x)
    power_iterate(layer)
    assert y.is_meta and all(tensor.is_meta for tensor in layer.state_dict().values())


@pytest.mark.parametrize("name", MAPS)
def test_embeddings_are_normalized_as_matrices(name: str) -> None:
    torch.manual_seed(0)
    embedding = nn.Embedding(5, 4).double()
    linear = nn.Linear(4, 5, bias=False).double()
    linear.weight.data.copy_(embedding.weight)
    torch.testing.assert_close(MAPS[name](embedding).weight, MAPS[name](linear).weight, rtol=0, atol=0)
    assert embedding.state_dict().keys() == linear.state_dict().keys()


@pytest.mark.parametrize("name", MAPS)
def test_a_network_with_feature_norms_and_a_shared_layer(name: str) -> None:
    torch.manual_seed(0)
    maps = MAPS[name]
    shared = compose(maps, mean).hidden(nn.Conv2d(8, 8, 3, padding=1))
    network = nn.Sequential(
        compose(maps, mean).hidden(nn.Conv2d(1, 8, 3, padding=1)),  # centred by its input where that is possible
        nn.LeakyReLU(0.1),
        nn.Sequential(shared, nn.Tanh(), shared),
        compose(maps, batch_norm).hidden(nn.Conv2d(8, 4, 4, 2, 1)),
        nn.Flatten(),
        maps(nn.Linear(4 * 16, 2)),
    )
    assert isinstance(shared, Normalized)
    x = torch.randn(9, 1, 8, 8)
    settle_input_sizes(network, x[:1])
    for _ in range(3):
        power_iterate(network)
        with parametrize.cached():
            network(x).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in network.parameters())
    for folded in (fold(network), fold_to_plain_layers(network).network):
        torch.testing.assert_close(folded(x), network.eval()(x), rtol=0, atol=1e-5)
    kinds = {"sn": "spectral norm", "bssn": "bidirectional spectral norm", "sn-conv": "convolution spectral norm"}
    kind = kinds.get(name.partition("(")[0], "orthogonal weight")
    counts = fold_to_plain_layers(network).folded
    linear = int(kind not in ("spectral norm", "orthogonal weight"))  # these maps are SN for the linear layer
    assert counts[kind] == 4 - linear and sum(counts.values()) == 4 + 3
    assert len(list(spectral_norms(network))) == counts.get("spectral norm", 0)
    assert len(sigmas(network)) == (0 if name == "orth" else 4)


class Counting(nn.Module):
    """A parametrization, or with `weights` False a plain module, that counts its updates."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Own()
        self.weights: list[torch.Tensor] = []

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight * 2

    def iterate(self, weight: torch.Tensor) -> None:
        assert not torch.is_grad_enabled()
        self.weights.append(weight)


class Own(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def iterate(self) -> None:
        assert not torch.is_grad_enabled()
        self.count += 1


def test_norms_of_other_packages_are_iterated_once() -> None:
    linear, norm, own = nn.Linear(3, 2), Counting(), Own()
    raw = linear.weight
    parametrize.register_parametrization(linear, "weight", norm)
    network = nn.Sequential(linear, own, linear, own, MAPS["bssn"](nn.Conv2d(1, 2, 3)))
    power_iterate(network)
    assert norm.weights == [raw] and norm.weights[0] is raw
    assert own.count == 1 and norm.inner.count == 0  # its parametrization iterates it
    power_iterate(network, 2)
    assert own.count == len(norm.weights) == 3


@pytest.mark.parametrize(
    "make", [lambda: nn.Conv2d(3, 5, 3), lambda: nn.Linear(6, 4), lambda: nn.ConvTranspose2d(3, 5, 2)]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_weight_norm_is_torchs_but_for_second_derivatives(make: Callable[[], nn.Module], dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layer = make().to(dtype)
    dim = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
    reference = torch.nn.utils.parametrizations.weight_norm(copy.deepcopy(layer), dim=dim)
    ours = weight_norm(layer)
    assert list(ours.state_dict()) == list(reference.state_dict())
    factors = torch.randn_like(ours.weight)
    values = [(each.weight * factors).sum() for each in (ours, reference)]
    gradients = [
        torch.autograd.grad(value, list(each.parameters())[-2:])
        for value, each in zip(values, (ours, reference), strict=True)
    ]
    torch.testing.assert_close(ours.weight, reference.weight, rtol=0, atol=0)
    torch.testing.assert_close(*gradients, rtol=0, atol=0)
    if dtype == torch.float64:
        norm = ours.parametrizations.weight[0]
        originals = [each.detach().requires_grad_() for each in list(ours.parameters())[-2:]]
        assert torch.autograd.gradcheck(norm, originals) and torch.autograd.gradgradcheck(norm, originals)


@pytest.mark.parametrize("kind", ["linear", "conv2d", "transposed2d"])
def test_weight_norm_of_channels_last_weights_is_torchs(kind: str) -> None:
    """Networks are stored so on every device; torch's fused operation takes contiguous tensors."""
    make, shape = LAYERS[kind]
    torch.manual_seed(0)
    plain, x = make(), torch.randn(shape)
    dim = 1 if kind.startswith("transposed") else 0
    ours = weight_norm(copy.deepcopy(plain)).to(memory_format=torch.channels_last)
    torchs = parametrizations.weight_norm(plain, dim=dim).to(memory_format=torch.channels_last)
    for layer in (ours, torchs):
        layer(x).square().sum().backward()
    torch.testing.assert_close(ours(x), torchs(x), rtol=0, atol=0)
    for one, other in zip(ours.parameters(), torchs.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=0, atol=0)
