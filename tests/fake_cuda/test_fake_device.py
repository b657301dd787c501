"""The fake device finds tensors on the wrong device, and its backward pass is that of torch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from gan.config.train_config import TrainConfig
from gan.data.image_set import ImageSet
from gan.norm import NORMS, SpectralNorm, power_iterate
from gan.runtime import Runtime
from gan.training.gan_step import GANStep
from gan.training.optimizers import adam
from gan.training.trainer import Trainer
from tests.fake_cuda.test_gan_step import train
from tests.helpers import python_autograd
from tests.helpers.fake_device import DeviceOnly, HostTensorError

MIXED = "Unhandled FakeTensor Device Propagation|at least two devices|tensors on|returned a gradient on"
Tiny = Callable[..., TrainConfig]


class _HostGradient(torch.autograd.Function):
    """The identity, whose backward pass makes its gradient on the CPU."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        return torch.zeros(gradient.shape)


def test_a_host_tensor_in_a_forward_pass(gpu: Runtime) -> None:
    with pytest.raises(RuntimeError, match=MIXED):
        torch.randn(3, 4, device=gpu.device) + torch.rand(4)
    with pytest.raises(RuntimeError, match=MIXED):
        nn.Linear(4, 2)(torch.randn(3, 4, device=gpu.device))


def test_a_host_tensor_in_a_backward_pass(gpu: Runtime) -> None:
    weight = torch.randn(4, device=gpu.device, requires_grad=True)
    with pytest.raises(RuntimeError, match=MIXED):
        (_HostGradient.apply(weight) * 2).sum().backward()


def test_a_host_tensor_in_an_optimizer(gpu: Runtime, tiny: Tiny) -> None:
    weight = nn.Linear(4, 2, device=gpu.device)
    optimizer = adam(weight, 0.1, tiny(), gpu.device)
    weight(torch.randn(3, 4, device=gpu.device)).sum().backward()
    optimizer.step()
    for state in optimizer.state.values():
        state["step"] = state["step"].cpu()
    with pytest.raises(RuntimeError, match=MIXED):
        optimizer.step()


def test_a_norm_whose_state_was_left_on_the_host(gpu: Runtime) -> None:
    layer = gpu.place(NORMS["sn"].hidden(nn.Conv2d(3, 4, 3)))
    norm = next(module for module in layer.modules() if isinstance(module, SpectralNorm))
    norm.u = torch.zeros(norm.u.shape)
    with DeviceOnly(), pytest.raises(HostTensorError):
        power_iterate(layer)


@pytest.mark.parametrize(
    "fault",
    [
        lambda images: images * torch.rand(images.shape).to(images.device),  # a copy, for which a step would wait
        lambda images: images[torch.arange(len(images))],  # a copy within an operation
        lambda images: images * images.mean().item(),
    ],
    ids=["copy", "index", "read"],
)
def test_a_step_that_does_not_stay_on_the_device(
    fault: Callable[[Tensor], Tensor], gpu: Runtime, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = GANStep._generate
    monkeypatch.setattr(GANStep, "_generate", lambda step, latents: fault(real(step, latents)))
    with pytest.raises(HostTensorError):
        train(tiny(), gpu)


@pytest.mark.parametrize(
    "changes",
    [{"norm": "msn", "n_dis": 2}, {"norm": "sn", "r1": 0.1, "network": "resnet"}, {"norm": "gradnorm", "r2": 0.1}],
    ids=["msn", "r1", "gradnorm"],
)
def test_the_backward_pass_is_that_of_torch(
    changes: dict[str, object],
    tiny: Tiny,
    image_set: Callable[..., ImageSet],
    runtime: Runtime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A step on the CPU with real values. The sums of several gradients may be in another order."""
    config = tiny(**changes)
    states = []
    for python in (False, True):
        if python:
            monkeypatch.setattr(torch.autograd, "backward", python_autograd.backward)
            monkeypatch.setattr(torch.autograd, "grad", python_autograd.grad)
        trainer = Trainer(config, runtime, image_set())
        trainer.train_step()
        states.append(
            [weight.grad for network in (trainer.generator, trainer.discriminator) for weight in network.parameters()]
        )
    for own, torchs in zip(*states, strict=True):
        torch.testing.assert_close(own, torchs, rtol=1e-4, atol=1e-7)
