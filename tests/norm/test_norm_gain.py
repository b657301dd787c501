"""Constant and learned gains of weight maps."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from gan.norm import bidirectional_spectral_norm, convolution_spectral_norm, power_iterate, sigmas, spectral_norm
from tests.helpers.norm_layers import LAYERS

GAINED = {"sn": spectral_norm, "bssn": bidirectional_spectral_norm, "sn-conv": convolution_spectral_norm}


@pytest.mark.parametrize("name", GAINED)
@pytest.mark.parametrize("kind", LAYERS)
def test_a_gain_multiplies_the_weight(name: str, kind: str) -> None:
    make, shape = LAYERS[kind]
    torch.manual_seed(0)
    raw, x = make().double(), torch.randn(shape, dtype=torch.float64)
    one, constant, learned = (GAINED[name](copy.deepcopy(raw), gain) for gain in (1.0, 1.7, "learned"))
    gradients = []
    for layer in (one, constant, learned):
        layer(x)
        (layer.weight.square().sum() / 2).backward()
        gradients.append(layer.parametrizations.weight.original.grad)
    torch.testing.assert_close(constant.weight, 1.7 * one.weight, rtol=1e-12, atol=0)
    torch.testing.assert_close(learned.weight, one.weight, rtol=1e-12, atol=0)
    torch.testing.assert_close(gradients[1], 1.7**2 * gradients[0], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(gradients[2], gradients[0], rtol=1e-10, atol=1e-12)
    assert sigmas(one) == sigmas(constant) == sigmas(learned)  # σ of the raw weight
    assert one.state_dict().keys() == constant.state_dict().keys()
    extra = learned.state_dict().keys() - one.state_dict().keys()
    assert extra == {"parametrizations.weight.0.gain"} <= dict(learned.named_parameters()).keys()


@pytest.mark.parametrize("name", GAINED)
def test_the_gradient_of_a_learned_gain_is_that_of_differences(name: str) -> None:
    layer = GAINED[name](nn.Conv2d(2, 3, 3, padding=1).double(), "learned")
    x = torch.randn(2, 2, 4, 4, dtype=torch.float64)
    layer(x)
    norm = layer.parametrizations.weight[0]
    loss = layer(x).square().sum()
    loss.backward()
    step = 1e-6
    with torch.no_grad():
        norm.gain += step
        above = layer(x).square().sum()
        norm.gain -= 2 * step
        below = layer(x).square().sum()
    assert norm.gain.grad.item() == pytest.approx(((above - below) / (2 * step)).item(), rel=1e-7)


def test_spectral_norm_with_gain_1_is_that_of_torch() -> None:
    torch.manual_seed(0)
    raw = nn.Conv2d(3, 4, 3).double()
    ours = spectral_norm(copy.deepcopy(raw), 2.5)
    theirs = parametrizations.spectral_norm(copy.deepcopy(raw), n_power_iterations=500).eval()
    power_iterate(ours, 500)
    torch.testing.assert_close(ours.weight, 2.5 * theirs.weight, rtol=1e-9, atol=1e-12)
    assert list(spectral_norm(copy.deepcopy(raw)).state_dict()) == [
        "bias",
        "parametrizations.weight.original",
        "parametrizations.weight.0.u",
        "parametrizations.weight.0.v",
    ]


@pytest.mark.parametrize("name", GAINED)
@pytest.mark.parametrize("gain", [0, -1.0, float("nan"), float("inf"), "learnt"])
def test_other_gains_are_refused(name: str, gain: float | str) -> None:
    for make in (partial(nn.Linear, 2, 3), partial(nn.Conv2d, 2, 3, 3)):
        with pytest.raises(ValueError, match="gain must be a positive number"):
            GAINED[name](make(), gain)
