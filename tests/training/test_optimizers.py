"""Adam as a run wants it: its settings, and a rate that can be changed where it lies."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from gan.config.train_config import TrainConfig
from gan.training.optimizers import adam, set_rate


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
