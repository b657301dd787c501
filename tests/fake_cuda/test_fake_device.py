"""The fake device finds what it is to find: tensors that a function makes on the CPU, and numbers that it reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gan.nn import losses
from gan.runtime import Runtime
from gan.training.meters import MetricMeans
from tests.fake_cuda.test_gan_step import Tiny, train
from tests.helpers.fake_device import HostTensorError, device_only, fake_cuda


def mixes(x: Tensor) -> Tensor:
    return x + torch.ones(len(x))


def joins(x: Tensor) -> Tensor:
    return torch.cat([x, torch.zeros(1)])


def multiplies(x: Tensor) -> Tensor:
    return torch.ones(2, len(x)) @ x


@pytest.mark.parametrize("function", [mixes, joins, multiplies])
def test_two_devices_in_one_operation(function: Callable[[Tensor], Tensor], gpu: Runtime) -> None:
    with pytest.raises(RuntimeError, match=r"device"):
        function(torch.ones(4, device=gpu.device))


HOST: dict[str, Callable[[Tensor], Any]] = {
    "a scalar of the CPU, which torch allows beside tensors of a GPU": lambda x: x * torch.tensor(2.0),
    "a tensor that is made and sent": lambda x: torch.arange(4).to(x.device),
    "a copy to the CPU": lambda x: x.cpu(),
    "a number": lambda x: x.sum().item(),
    "a branch": lambda x: bool(x.isfinite().all()),
    "a tensor of the CPU alone": lambda x: torch.zeros(()),
}


@pytest.mark.parametrize("case", HOST)
def test_the_host_is_found(case: str, gpu: Runtime) -> None:
    x = torch.ones(4, device=gpu.device)
    HOST[case](x)  # allowed outside
    with device_only(), pytest.raises(HostTensorError):
        HOST[case](x)
    HOST[case](x)  # and again afterwards


class _HostGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return torch.ones(gradient.shape)


def test_a_gradient_on_the_cpu(gpu: Runtime) -> None:
    x = torch.ones(4, device=gpu.device, requires_grad=True)
    with pytest.raises(RuntimeError, match="returned a gradient on cpu"):
        _HostGradient.apply(x).sum().backward()


def test_an_optimizer_on_two_devices(gpu: Runtime) -> None:
    weight = nn.Parameter(torch.ones(4, device=gpu.device))
    weight.grad = torch.ones(4, device=gpu.device)
    with pytest.raises(RuntimeError):
        torch.optim.Adam([weight], torch.tensor(0.1), fused=True, capturable=True).step()


def _host_hinge(real: Tensor, fake: Tensor) -> Tensor:
    return torch.maximum(1 - real, torch.zeros(len(real))).mean() + (1 + fake).relu().mean()


def test_a_fault_in_the_training_step(gpu: Runtime, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """The step of a run fails if its loss makes a tensor on the CPU, or its metrics read one."""
    config = tiny(norm="sn", steps=1, loss="hinge")
    with monkeypatch.context() as patch:
        loss = losses.LOSSES["hinge"]
        patch.setitem(losses.LOSSES, "hinge", type(loss)(_host_hinge, loss.generator, loss.uses_real))
        with pytest.raises((RuntimeError, HostTensorError)):
            train(config, gpu)
    with monkeypatch.context() as patch:
        patch.setattr(MetricMeans, "add", lambda self, weight, **values: [value.item() for value in values.values()])
        with pytest.raises(HostTensorError, match="a number is read"):
            train(config, gpu)


def test_the_cpu_is_itself_afterwards() -> None:
    with fake_cuda() as device, device_only():
        torch.ones(2, device=device)
    x = torch.tensor([3.0], requires_grad=True)
    x.square().backward()
    assert x.grad is not None and x.grad.item() == 6
