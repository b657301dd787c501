"""Norms on the fake device: training, power iteration, evaluation, σ and folding, alone and composed."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from gan.config.choices import NORMS as REGISTRY
from gan.norm import NORMS, fold, power_iterate, sigmas
from gan.norm.norms import FEATURE_NORMS, WEIGHT_MAPS, Norm
from gan.runtime import Runtime
from tests.helpers.fake_device import device_only

COMPOSED = [
    "sn(gain=2)+mean",
    "sn(gain=learned)+ln",
    "bssn(gain=learned)+in",
    "sn-conv(gain=2)+group",
    "wn+affine-mean",
    "orth+bn",
    "sn+gradnorm",
    "orth+ln+gradnorm",
]


class Discriminator(nn.Module):
    """Convolutions, a transposed one among them, and a linear output."""

    def __init__(self, norm: Norm) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            norm.hidden(nn.Conv2d(3, 16, 3, padding=1)),
            nn.ReLU(),
            norm.hidden(nn.Conv2d(16, 8, 4, 2, 1)),
            nn.ReLU(),
            norm.hidden(nn.ConvTranspose2d(8, 4, 4, 2, 1)),
            nn.Flatten(),
            norm.output(nn.Linear(4 * 8 * 8, 1)),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images).flatten()


@pytest.mark.parametrize("name", [*NORMS, *COMPOSED])
def test_a_norm_stays_on_the_device(name: str, gpu: Runtime) -> None:
    norm = REGISTRY.load(name)
    network = gpu.place(Discriminator(norm))
    images = torch.randn(8, 3, 8, 8, device=gpu.device)
    network(images)  # after which sn-conv knows the size of its inputs
    power_iterate(network)  # of sn-conv, which allocates nothing from here on
    precision = replace(gpu, bf16=name in COMPOSED)
    with device_only():
        power_iterate(network)
        with precision.autocast():
            logits = norm.logits(network, images)
        logits.float().sum().backward()
        with torch.no_grad(), precision.autocast():
            assert norm.logits(network.eval(), images).device == gpu.device
    assert all(weight.grad is not None and weight.grad.device == gpu.device for weight in network.parameters())
    assert all(value.device == gpu.device for value in network.state_dict().values())
    folded = fold(network, strict=False)
    assert folded(images).device == gpu.device
    assert all(value == 1 for value in sigmas(network).values())  # the number that every read returns


@pytest.mark.parametrize("name", FEATURE_NORMS)
@pytest.mark.parametrize("shape", [(8, 6), (8, 6, 4), (1, 6, 4)])
def test_a_feature_norm_of_other_layers(name: str, shape: tuple[int, ...], gpu: Runtime) -> None:
    linear = len(shape) == 2
    layer: nn.Module = nn.Linear(6, 24) if linear else nn.Conv1d(6, 24, 3)
    module = gpu.place(FEATURE_NORMS[name](layer)) if linear else FEATURE_NORMS[name](layer).to(gpu.device)
    x = torch.randn(shape, device=gpu.device)
    with device_only():
        module(x).sum().backward()
        assert module.eval()(x).device == gpu.device


@pytest.mark.parametrize("name", [*WEIGHT_MAPS, *FEATURE_NORMS])
def test_a_norm_of_a_layer_made_on_the_device(name: str, gpu: Runtime) -> None:
    """Its parameters and state are made on the device of the weight."""
    layer = NORMS[name].hidden(nn.Conv2d(3, 4, 3, device=gpu.device))
    x = torch.randn(2, 3, 8, 8, device=gpu.device)
    assert layer(x).device == gpu.device
    power_iterate(layer)
    assert all(value.device == gpu.device for value in layer.state_dict().values())
