"""The moving average against its definition."""

from __future__ import annotations

import torch
from torch import nn

from gan.training.ema import ExponentialMovingAverage


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))


def test_half_life() -> None:
    first = network()
    average = ExponentialMovingAverage(first, half_life=100, rampup=1.0)
    second = network()
    expected = first[0].weight.detach() * 0.5 + second[0].weight.detach() * 0.5
    average.update(second, batch=100, images_seen=10_000)
    torch.testing.assert_close(average.network[0].weight, expected)


def test_rampup_forgets_the_first_weights() -> None:
    average = ExponentialMovingAverage(network(), half_life=1e6, rampup=0.05)
    newest = network()
    average.update(newest, batch=64, images_seen=64)  # half-life 3.2 images: nothing of the start is left
    torch.testing.assert_close(average.network[0].weight, newest[0].weight, rtol=0, atol=2e-6)


def test_no_averaging() -> None:
    average, newest = ExponentialMovingAverage(network(), half_life=0, rampup=0.05), network()
    average.update(newest, batch=1, images_seen=1)
    torch.testing.assert_close(average.network.state_dict(), newest.state_dict(), rtol=0, atol=0)


def test_running_statistics_are_averaged_and_counts_copied() -> None:
    first, second = network(), network()
    average = ExponentialMovingAverage(first, half_life=10, rampup=1.0)
    second(torch.randn(50, 2) * 3 + 2)
    average.update(second, batch=10, images_seen=1000)
    torch.testing.assert_close(average.network[1].running_mean, second[1].running_mean / 2)
    assert average.network[1].num_batches_tracked == 1
    assert not average.network.training
    assert not any(parameter.requires_grad for parameter in average.network.parameters())


def test_a_scheduled_half_life_has_no_bound() -> None:
    first, second = network(), network()
    average = ExponentialMovingAverage(first, half_life=1e6, rampup=0.05)
    expected = first[0].weight.detach() * 0.25 + second[0].weight.detach() * 0.75
    average.update(second, batch=64, images_seen=64, scheduled=32.0)
    torch.testing.assert_close(average.network[0].weight, expected)
    average.update(second, batch=64, images_seen=128, scheduled=0.0)
    torch.testing.assert_close(average.network[0].weight, second[0].weight, rtol=0, atol=0)
