"""Folded layers against the trained layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from gan.norm import NORMS, fold, power_iterate, sigmas
from tests.helpers.norm_layers import FOLDABLE, LAYERS, parameter_count

torch.manual_seed(0)


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("name", FOLDABLE)
@pytest.mark.parametrize("kind", LAYERS)
def test_fold(name: str, kind: str, dtype: torch.dtype, tolerance: float) -> None:
    make, shape = LAYERS[kind]
    network = nn.Sequential(NORMS[name].hidden(make()), nn.LeakyReLU(0.1)).to(dtype)
    for parameter in network.parameters():
        parameter.data.add_(torch.rand_like(parameter) * 0.1)
    for _ in range(3):
        power_iterate(network)
        network(torch.randn(shape, dtype=dtype) * 2 + 1)
    x = torch.randn(shape, dtype=dtype)
    folded = fold(network)
    torch.testing.assert_close(folded(x), network.eval()(x), rtol=0, atol=tolerance)
    assert parameter_count(folded) == parameter_count(make())
    assert not any(parametrize.is_parametrized(m) for m in folded.modules())
    assert all(isinstance(m, (nn.Sequential, type(make()), nn.LeakyReLU)) for m in folded.modules())


@pytest.mark.parametrize("name", ["ln", "in"])
def test_what_cannot_fold_says_so(name: str) -> None:
    network = nn.Sequential(NORMS["msn"].hidden(nn.Conv2d(3, 4, 3)), NORMS[name].hidden(nn.Conv2d(4, 4, 3)))
    with pytest.raises(ValueError, match=r"cannot fold.*1 \((GroupNorm|InstanceNorm2d)\)"):
        fold(network)
    partly = fold(network, strict=False)
    assert isinstance(partly[0], nn.Conv2d)
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(partly(x), network.eval()(x))


def test_fold_takes_a_single_layer_and_plain_sequences_and_leaves_the_original() -> None:
    layer = NORMS["msn"].hidden(nn.Conv2d(3, 4, 3))
    assert type(fold(layer)) is nn.Conv2d
    assert layer.training and sigmas(layer)
    sequence = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.BatchNorm2d(4))
    x = torch.randn(8, 3, 6, 6)
    sequence(x)
    folded = fold(sequence)
    assert isinstance(folded[1], nn.Identity) and isinstance(folded[3], nn.BatchNorm2d)
    torch.testing.assert_close(folded(x), sequence.eval()(x))


@pytest.mark.parametrize("name", FOLDABLE)
def test_folded_weights_lie_in_memory_as_the_trained_ones(name: str) -> None:
    network = nn.Sequential(NORMS[name].hidden(nn.Conv2d(8, 16, 3))).to(memory_format=torch.channels_last)
    weight = fold(network)[0].weight
    assert weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()


class Twice(nn.Module):
    """A layer under two names; and a layer that is used both with a norm and without."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.first = NORMS[name].hidden(nn.Conv2d(4, 4, 3, padding=1))
        self.second = self.first
        shared = nn.Conv2d(4, 4, 1)
        self.normalized = nn.Sequential(shared, nn.BatchNorm2d(4), nn.ReLU(), shared, nn.BatchNorm2d(4))
        self.alone = shared

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.alone(self.normalized(self.second(self.first(x).relu())))


@pytest.mark.parametrize("name", FOLDABLE)
def test_layers_that_are_used_twice(name: str) -> None:
    network = Twice(name)
    for _ in range(5):
        network(torch.randn(8, 4, 6, 6) + 1)
    folded, x = fold(network), torch.randn(8, 4, 6, 6)
    torch.testing.assert_close(folded(x), network.eval()(x), rtol=0, atol=1e-5)
    assert folded.first is folded.second and type(folded.first) is nn.Conv2d
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())


def test_a_norm_along_another_dimension_than_its_linear_layer_stays() -> None:
    network = nn.Sequential(nn.Linear(8, 3), nn.BatchNorm1d(5))
    x = torch.randn(16, 5, 8)
    network(x + 1)
    torch.testing.assert_close(fold(network)(x), network.eval()(x))
