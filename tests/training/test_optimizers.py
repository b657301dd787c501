"""Adam as a run wants it: its settings, and a rate that can be changed where it lies."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

from gan.config.train_config import TrainConfig
from gan.training.optimizers import DeviceBeta2Adam, adam, frozen, set_beta2, set_rate


@pytest.mark.parametrize(
    "device",
    ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"))],
)
def test_its_updates_are_those_of_torchs_plain_adam(device: str, tiny: Callable[..., TrainConfig]) -> None:
    networks = [nn.Linear(3, 2, device=device, dtype=torch.float64) for _ in range(2)]
    networks[1].load_state_dict(networks[0].state_dict())
    # Rates that fp32 has exactly: on CUDA they are fp32 tensors.
    ours = adam(networks[0], 0.125, tiny(beta1=0.3, beta2=0.9), torch.device(device))
    plain = torch.optim.Adam(networks[1].parameters(), 0.125, (0.3, 0.9))
    for rate in (0.125, 0.125, 0.03125):
        set_rate(ours, rate)
        set_rate(plain, rate)
        for network, optimizer in zip(networks, (ours, plain), strict=True):
            optimizer.zero_grad()
            network(torch.ones(1, 3, device=device, dtype=torch.float64)).square().sum().backward()
            optimizer.step()
    torch.testing.assert_close(networks[0].state_dict(), networks[1].state_dict(), rtol=1e-12, atol=1e-12)


def test_a_rate_on_the_device_is_changed_in_place() -> None:
    rate = torch.tensor(0.1)
    optimizer = torch.optim.Adam([nn.Parameter(torch.ones(1))], rate)
    set_rate(optimizer, 0.02)
    assert optimizer.param_groups[0]["lr"] is rate and rate.item() == pytest.approx(0.02)


DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"))]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("captured", [False, True])
@pytest.mark.parametrize("beta1", [0.0, 0.5])
def test_each_step_uses_its_own_beta2(
    device: str, captured: bool, beta1: float, tiny: Callable[..., TrainConfig]
) -> None:
    """Adam written out: the mean of squares decays by the newest β₂, and so does the bias correction."""
    parameter = nn.Parameter(torch.tensor([0.3, -2.0, 5.0], dtype=torch.float64, device=device))
    network = nn.ParameterList([parameter])
    rates, betas = [0.125, 0.125, 0.0625, 0.03125, 0.03125], [0.5, 0.625, 0.75, 0.875, 0.9375]  # exact in fp32
    config = tiny(beta1=beta1, beta2=betas[0], beta2_end=betas[-1], schedule_images=5)
    if captured:
        rate = torch.tensor(rates[0], dtype=torch.float64, device=device)
        optimizer: torch.optim.Adam = DeviceBeta2Adam([parameter], rate, (beta1, betas[0]))
    else:
        optimizer = adam(network, rates[0], config, torch.device(device))
    weights, mean, square = parameter.detach().clone(), torch.zeros(3), torch.zeros(3)
    mean, square = mean.to(weights), square.to(weights)
    for step, (rate_now, beta2) in enumerate(zip(rates, betas, strict=True), start=1):
        set_rate(optimizer, rate_now)
        set_beta2(optimizer, beta2)
        gradient = weights**2 - step
        parameter.grad = (parameter.detach() ** 2 - step).clone()
        optimizer.step()
        mean = beta1 * mean + (1 - beta1) * gradient
        square = beta2 * square + (1 - beta2) * gradient**2
        root = (square / (1 - beta2**step)).sqrt() + 1e-8
        weights = weights - rate_now * mean / (1 - beta1**step) / root
        torch.testing.assert_close(parameter.detach(), weights, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("beta1", [0.0, 0.9])
def test_adam_of_a_captured_step_reads_no_number_on_the_host(beta1: float) -> None:
    """On tensors without data (device "meta") that is an error."""
    parameters = [nn.Parameter(torch.ones(3, 2, device="meta")), nn.Parameter(torch.ones(4, device="meta"))]
    optimizer = DeviceBeta2Adam(parameters, torch.tensor(0.1), (beta1, 0.9))  # torch checks the range of the rate
    optimizer.param_groups[0] |= {name: torch.ones((), device="meta") for name in ("lr", "beta2")}
    for _ in range(2):
        for parameter in parameters:
            parameter.grad = torch.ones_like(parameter)
        set_beta2(optimizer, 0.99)
        optimizer.step()
    assert all(value.is_meta for state in optimizer.state.values() for value in state.values())


def test_the_state_of_a_captured_adam_is_torchs() -> None:
    """So that a checkpoint of one goes on with the other, and parameters without a gradient stay as they are."""
    first, second, unused = (nn.Parameter(torch.ones(2)) for _ in range(3))
    ours, plain = (
        DeviceBeta2Adam([first, unused], torch.tensor(0.1), (0.5, 0.9)),
        torch.optim.Adam([second, unused], 0.1, (0.5, 0.9)),
    )
    for number in range(4):
        first.grad, second.grad = torch.tensor([1.0, number]), torch.tensor([1.0, number])
        ours.step()
        plain.step()
        if number == 1:
            ours.load_state_dict(
                {**copy.deepcopy(plain.state_dict()), "param_groups": ours.state_dict()["param_groups"]}
            )
    torch.testing.assert_close(first, second, rtol=1e-6, atol=1e-7)
    assert plain.state_dict()["state"][0].keys() == ours.state_dict()["state"][0].keys()
    assert unused.tolist() == [1.0, 1.0] and unused not in ours.state


def test_frozen_weights_are_not_updated(tiny: Callable[..., TrainConfig]) -> None:
    network = nn.Linear(2, 1)
    network.weight.requires_grad_(False)
    (group,) = adam(network, 0.1, tiny(), torch.device("cpu")).param_groups
    assert group["params"] == [network.bias]
    with frozen(network):
        assert not network.bias.requires_grad
    assert network.bias.requires_grad and not network.weight.requires_grad
