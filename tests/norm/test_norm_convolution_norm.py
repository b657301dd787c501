"""Spectral normalization of convolutions against the singular values of the whole linear map."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable

import numpy
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gan.nn.convolutions import PooledConv2d
from gan.norm import (
    Normalized,
    compose,
    convolution_spectral_norm,
    power_iterate,
    settle_input_sizes,
    sigmas,
    spectral_norm,
)
from gan.norm.feature_norms import mean
from tests.helpers.weight_maps import largest, operator_matrix

LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "3x3": (lambda: nn.Conv2d(3, 4, 3, padding=1), (3, 6, 5)),
    "no padding": (lambda: nn.Conv2d(3, 4, 3), (3, 6, 5)),
    "stride 2": (lambda: nn.Conv2d(2, 5, 3, 2, 1), (2, 7, 6)),
    "4x4, stride 2": (lambda: nn.Conv2d(2, 5, 4, 2, 1), (2, 8, 6)),
    "a rest without outputs": (lambda: nn.Conv2d(2, 3, 3, 3), (2, 8, 7)),
    "dilated": (lambda: nn.Conv2d(2, 3, 3, padding=2, dilation=2), (2, 6, 6)),
    "uneven": (lambda: nn.Conv2d(2, 3, (1, 4), (1, 2), (0, 2)), (2, 5, 6)),
    "groups": (lambda: nn.Conv2d(4, 6, 3, padding=1, groups=2), (4, 5, 5)),
    "depthwise": (lambda: nn.Conv2d(4, 4, 3, padding=1, groups=4), (4, 5, 5)),
    "same": (lambda: nn.Conv2d(2, 3, (3, 5), padding="same"), (2, 6, 6)),
    "valid": (lambda: nn.Conv2d(2, 3, 3, padding="valid"), (2, 6, 6)),
    "1d": (lambda: nn.Conv1d(3, 4, 4, 2, 1), (3, 9)),
    "3d": (lambda: nn.Conv3d(2, 3, 3, padding=1), (2, 3, 4, 3)),
    "transposed": (lambda: nn.ConvTranspose2d(3, 4, 4, 2, 1), (3, 3, 4)),
    "transposed, output padding": (lambda: nn.ConvTranspose2d(3, 2, 3, 2, 1, output_padding=1), (3, 3, 4)),
    "transposed, groups": (lambda: nn.ConvTranspose2d(4, 6, 3, 2, groups=2), (4, 3, 3)),
    "transposed 1d": (lambda: nn.ConvTranspose1d(3, 4, 3, dilation=2), (3, 5)),
    "transposed 3d": (lambda: nn.ConvTranspose3d(2, 3, 2, 2), (2, 2, 3, 2)),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_sigma_is_the_largest_singular_value_of_the_whole_map(kind: str) -> None:
    make, shape = LAYERS[kind]
    torch.manual_seed(0)
    raw = make().double()
    raw.bias = None
    exact = largest(operator_matrix(raw, shape))
    layer = convolution_spectral_norm(copy.deepcopy(raw))
    layer(torch.randn(2, *shape, dtype=torch.float64))
    power_iterate(layer, 100)
    assert sigmas(layer)[""] == pytest.approx(exact, rel=1e-3)
    assert 1 - 1e-9 <= largest(operator_matrix(layer, shape)) <= 1 + 1e-3
    torch.testing.assert_close(layer.weight, raw.weight / sigmas(layer)[""], rtol=1e-12, atol=0)


def test_it_is_not_the_norm_of_the_flattened_weight() -> None:
    layer, flat = (norm(nn.Conv2d(1, 1, 3, padding=1)) for norm in (convolution_spectral_norm, spectral_norm))
    for module in (layer, flat):
        nn.init.ones_(module.parametrizations.weight.original)
        module(torch.zeros(1, 1, 12, 12))
        power_iterate(module, 100)
    assert sigmas(flat)[""] == pytest.approx(3)
    assert 8 < sigmas(layer)[""] < 9


def test_the_norm_of_a_pooled_convolution_is_that_of_the_convolution() -> None:
    torch.manual_seed(0)
    layer = convolution_spectral_norm(PooledConv2d(3, 4).double())
    layer(torch.randn(2, 3, 6, 6, dtype=torch.float64))
    power_iterate(layer, 100)
    plain = nn.Conv2d(3, 4, 3, padding=1, bias=False).double()
    plain.weight.data.copy_(layer.parametrizations.weight.original)
    assert sigmas(layer)[""] == pytest.approx(largest(operator_matrix(plain, (3, 6, 6))), rel=1e-3)


@pytest.mark.parametrize("kind", ["4x4, stride 2", "transposed, groups"])
def test_an_update_is_one_iteration_through_the_map_and_its_transpose(kind: str) -> None:
    make, shape = LAYERS[kind]
    raw = make().double()
    raw.bias = None
    matrix = operator_matrix(raw, shape)
    layer = convolution_spectral_norm(copy.deepcopy(raw))
    layer(torch.zeros(1, *shape, dtype=torch.float64))
    norm = layer.parametrizations.weight[0]
    v = F.normalize(matrix.T @ norm.u.flatten(), dim=0)
    u = F.normalize(matrix @ v, dim=0)
    power_iterate(layer)
    torch.testing.assert_close(norm.v.flatten(), v, rtol=0, atol=1e-12)
    torch.testing.assert_close(norm.u.flatten(), u, rtol=0, atol=1e-12)
    assert sigmas(layer)[""] == pytest.approx((u @ matrix @ v).item(), rel=1e-12)


def test_the_weight_is_unknown_before_the_first_call() -> None:
    layer = convolution_spectral_norm(nn.Conv2d(2, 3, 3))
    with pytest.raises(RuntimeError, match="call the network once"):
        _ = layer.weight
    power_iterate(layer)
    assert sigmas(layer) == {}
    empty = convolution_spectral_norm(nn.Conv2d(2, 3, 3))
    empty.load_state_dict(layer.state_dict(), strict=True)
    with torch.inference_mode():
        layer(torch.zeros(2, 5, 5))  # without a batch
    power_iterate(layer)
    assert layer.parametrizations.weight[0].input_size == (5, 5)


def test_another_input_size_is_refused() -> None:
    layer = convolution_spectral_norm(nn.Conv2d(2, 3, 3))
    layer(torch.zeros(1, 2, 5, 6))
    layer(torch.zeros(7, 2, 5, 6))
    with pytest.raises(ValueError, match=r"first called with inputs of 5×6, now of 6×5"):
        layer(torch.zeros(1, 2, 6, 5))
    other = convolution_spectral_norm(nn.Conv2d(2, 3, 3))
    other(torch.zeros(1, 2, 8, 8))
    with pytest.raises(RuntimeError, match="size mismatch"):
        other.load_state_dict(layer.state_dict())


def test_other_paddings_and_layers_are_refused() -> None:
    with pytest.raises(ValueError, match="padding_mode='zeros', not 'reflect'"):
        convolution_spectral_norm(nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"))
    with pytest.raises(ValueError, match="not symmetric"):
        convolution_spectral_norm(nn.Conv2d(2, 3, 4, padding="same"))
    with pytest.raises(TypeError, match="BatchNorm2d"):
        convolution_spectral_norm(nn.BatchNorm2d(3))
    layer = convolution_spectral_norm(nn.ConvTranspose2d(2, 3, 3, 2))
    for call in (lambda x: layer(x, (8, 8)), lambda x: layer(x, output_size=(8, 8))):
        with pytest.raises(ValueError, match="output_size"):
            call(torch.zeros(1, 2, 3, 3))


def test_a_linear_layer_has_spectral_norm() -> None:
    raw = nn.Linear(5, 3)
    ours, theirs = convolution_spectral_norm(copy.deepcopy(raw)), spectral_norm(copy.deepcopy(raw))
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=0, atol=0)
    assert not ours._forward_pre_hooks


def test_settling_changes_nothing_else() -> None:
    few = compose(convolution_spectral_norm, mean).hidden(nn.Conv2d(1, 8, 3, padding=1))
    assert isinstance(few, Normalized) and type(few) is not Normalized
    network = nn.Sequential(few, nn.BatchNorm2d(8), nn.Dropout(0.5), convolution_spectral_norm(nn.Conv2d(8, 4, 4, 2)))
    network[1].eval()
    before = copy.deepcopy(network.state_dict())
    states = torch.get_rng_state(), random.getstate(), numpy.random.get_state()[1].copy()
    settle_input_sizes(network, torch.zeros(1, 1, 8, 8))
    assert torch.equal(torch.get_rng_state(), states[0]) and random.getstate() == states[1]
    assert (numpy.random.get_state()[1] == states[2]).all()
    after = network.state_dict()
    assert after.keys() - before.keys() == {
        f"{layer}.parametrizations.weight.0.{name}" for layer in ("0.layer", "3") for name in "uv"
    }
    torch.testing.assert_close({key: after[key] for key in before}, before, rtol=0, atol=0)
    assert [module.training for module in network] == [True, False, True, True]
    assert not any(module.training for module in network[1].modules())
    again = copy.deepcopy(after)
    settle_input_sizes(network, "nothing")  # all sizes are known: no call
    torch.testing.assert_close(network.state_dict(), again, rtol=0, atol=0)


def test_the_initial_vectors_do_not_depend_on_the_input_or_the_seed() -> None:
    states = []
    for seed in (0, 1):
        torch.manual_seed(3)
        layer = convolution_spectral_norm(nn.Conv2d(2, 3, 3))
        torch.manual_seed(seed)
        layer(torch.randn(4, 2, 5, 5))
        states.append(layer.state_dict())
    torch.testing.assert_close(states[0], states[1], rtol=0, atol=0)
