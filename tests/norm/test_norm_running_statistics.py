"""Recomputed running statistics: means over whole batches."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from gan.norm import NORMS, has_running_statistics, retake_running_statistics


@pytest.fixture
def batches() -> list[tuple[Tensor]]:
    stream = torch.Generator().manual_seed(0)
    return [(torch.randn(5, 3, 6, 6, generator=stream) + number,) for number in range(3)]


def network_of(norm: str) -> nn.Sequential:
    torch.manual_seed(1)
    convolutions = [NORMS[norm].hidden(nn.Conv2d(3, 4, 3)), nn.ReLU(), NORMS[norm].hidden(nn.Conv2d(4, 2, 3))]
    return nn.Sequential(*convolutions)


@pytest.mark.parametrize("norm", ["msn", "bn", "affine-mean"])
def test_each_batch_has_equal_weight(norm: str, batches: list[tuple[Tensor]]) -> None:
    network = network_of(norm).eval()
    before = copy.deepcopy(network)
    retake_running_statistics(network, batches)
    # One network for each batch, whose layers keep the statistics of that batch alone.
    alone = []
    for batch in batches:
        alone.append(copy.deepcopy(before))
        retake_running_statistics(alone[-1], [batch])
    compared = 0
    for name, value in network.state_dict().items():
        if name.endswith(("running_mean", "running_var")):
            expected = torch.stack([other.state_dict()[name] for other in alone]).mean(0)
            torch.testing.assert_close(value, expected)
            assert not torch.equal(value, before.state_dict()[name])
            compared += 1
        elif not name.endswith("num_batches_tracked"):
            assert torch.equal(value, before.state_dict()[name]), name
    assert compared == 2 * (2 if norm == "bn" else 1)
    assert not network.training
    momenta = [layer.momentum for layer in network.modules() if hasattr(layer, "momentum")]
    assert momenta == [0.1, 0.1]


def test_the_mean_of_one_batch_is_that_of_its_outputs(batches: list[tuple[Tensor]]) -> None:
    layer = NORMS["msn"].hidden(nn.Conv2d(3, 4, 3))
    network = nn.Sequential(layer)
    retake_running_statistics(network, batches[:1])
    weighted = layer.layer(batches[0][0])
    torch.testing.assert_close(network.state_dict()["0.norm.running_mean"], weighted.mean((0, 2, 3)))


def test_without_batches_or_layers(batches: list[tuple[Tensor]]) -> None:
    network = network_of("msn")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    retake_running_statistics(network, [])
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert has_running_statistics(network) and not has_running_statistics(network_of("sn"))
    retake_running_statistics(network_of("sn"), batches)


def test_momentum_and_mode_are_restored_if_a_batch_fails(batches: list[tuple[Tensor]]) -> None:
    network = network_of("bn").eval()
    with pytest.raises(RuntimeError):
        retake_running_statistics(network, [batches[0], (torch.zeros(2, 7, 6, 6),)])
    assert not network.training and network[0].norm.momentum == 0.1
