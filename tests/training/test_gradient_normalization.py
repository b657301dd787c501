"""Training steps with gradient normalization around the discriminator."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gan.bench.workload import Workload
from gan.config.train_config import TrainConfig
from gan.data.image_set import ImageSet
from gan.dynamics.measure import DynamicsMeter
from gan.dynamics.probe_batches import PARTS
from gan.nn.losses import LOSSES
from gan.norm import gradient_normalized, power_iterate
from gan.runtime import Runtime
from gan.training import cuda_graph
from gan.training.setup import dynamics_meter
from gan.training.trainer import Trainer
from tests.helpers.states import same_bytes

Make = Callable[..., TrainConfig]
MakeImages = Callable[..., ImageSet]


SETTINGS: list[dict[str, Any]] = [
    {"norm": "gradnorm", "loss": "hinge"},
    {"norm": "sn+gradnorm", "loss": "logistic", "network": "resnet", "conditional": True},
    {"norm": "sn+gradnorm", "loss": "wgan", "gradient_penalty": 10.0, "n_dis": 2, "conditional": True},
    {"norm": "in+gradnorm", "loss": "relativistic", "r1": 1.0, "r2": 1.0, "d_batch": "joint"},
    {"norm": "wn+gradnorm", "loss": "relativistic", "r1": 1.0, "r2": 1.0, "penalty_every": 2, "network": "resnet"},
    {"norm": "ln+gradnorm", "loss": "hinge", "r1": 1.0, "accumulate": 2, "augment": ("color", "translation", "cutout")},
    {"norm": "sn+gradnorm", "loss": "lsgan", "n_dis": 2, "accumulate": 2, "conditional": True, "d_batch": "joint"},
]


def clip(settings: dict[str, Any]) -> str:
    return "-".join(str(value) for value in settings.values())


@pytest.mark.parametrize("bf16", [False, True], ids=["fp32", "bf16"])
@pytest.mark.parametrize("settings", SETTINGS, ids=clip)
def test_it_trains(tiny: Make, image_set: MakeImages, settings: dict[str, Any], bf16: bool) -> None:
    job = Trainer(tiny(**settings), Runtime(torch.device("cpu"), bf16=bf16), image_set())
    before = copy.deepcopy([job.generator.state_dict(), job.discriminator.state_dict()])
    seen: list[Tensor] = []
    logits = job.gan_step._logits
    job.gan_step._logits = lambda *batch: (seen.append(logits(*batch)), seen[-1])[1]  # type: ignore[method-assign]
    for _ in range(4):
        job.train_step()
    entry = job.log_entry()
    assert all(torch.tensor(entry[name]).isfinite() for name in ("loss_d", "loss_g", "grad_norm_d", "grad_norm_g"))
    assert all(values.dtype == torch.float32 and (values.abs() <= 1).all() for values in seen)
    assert entry["grad_norm_d"] > 0 and entry["grad_norm_g"] > 0
    for network, old in zip((job.generator, job.discriminator), before, strict=True):
        assert all(value.isfinite().all() for value in network.state_dict().values())
        assert any((value != old[key]).any() for key, value in network.state_dict().items())


def test_one_step_is_the_recipe(tiny: Make, image_set: MakeImages, runtime: Runtime) -> None:
    """Hinge loss of D and G on f̂ written out, with D's parameters and those of G."""
    config, data = tiny(norm="sn+gradnorm", loss="hinge", network="resnet", d_lr=0.0), image_set()
    job = Trainer(config, runtime, data)
    generator, discriminator = copy.deepcopy(job.generator), copy.deepcopy(job.discriminator)
    update = job.inputs.step_inputs(0, own_latents=False)[0]
    job.train_step()

    def normalized(x: Tensor) -> Tensor:
        x = x if x.requires_grad else x.clone().requires_grad_()
        logits = discriminator(x)
        (slope,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
        return logits / (slope.flatten(1).norm(dim=1) + logits.abs())

    real, fake = job.inputs.real(update)[0], generator(update.latents)
    power_iterate(discriminator)
    loss = (1 - normalized(real)).relu().mean() + (1 + normalized(fake.detach())).relu().mean()
    for network, value in ((discriminator, loss), (generator, -normalized(fake).mean())):
        expected = torch.autograd.grad(value, list(network.parameters()))
        ours = job.discriminator if network is discriminator else job.generator
        for (name, mine), other in zip(ours.named_parameters(), expected, strict=True):
            scale = other.abs().max().item()
            torch.testing.assert_close(mine.grad, other, rtol=1e-3, atol=1e-4 * scale + 1e-8, msg=name)


@pytest.mark.parametrize("loss", LOSSES)
def test_accumulation_is_the_whole_batch(tiny: Make, image_set: MakeImages, runtime: Runtime, loss: str) -> None:
    """f̂ of an image does not depend on the others, so parts of a batch give the gradient of the whole."""
    settings = {"norm": "sn+gradnorm", "network": "sngan-cnn", "loss": loss, "d_lr": 0.0, "r1": 1.0}
    whole = Trainer(tiny(**settings), runtime, image_set())
    parts = Trainer(tiny(**settings, accumulate=2), runtime, image_set())
    for job in (whole, parts):
        for module in job.generator.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()  # batch norm in G is the only part that a split would change
        job.train_step()
    for ours, theirs in ((parts.discriminator, whole.discriminator), (parts.generator, whole.generator)):
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            scale = other.grad.abs().max().item()
            torch.testing.assert_close(mine.grad, other.grad, rtol=1e-4, atol=1e-5 * scale + 1e-8)


@pytest.mark.parametrize("bf16", [False, True], ids=["fp32", "bf16"])
def test_resume_is_exact(tiny: Make, image_set: MakeImages, bf16: bool) -> None:
    machine = Runtime(torch.device("cpu"), bf16=bf16)
    config = tiny(norm="sn+gradnorm", loss="hinge", r1=1.0, n_dis=2, augment=("color", "translation"))
    whole, stopped, resumed = (Trainer(config, machine, image_set()) for _ in range(3))
    for _ in range(4):
        whole.train_step()
    for _ in range(2):
        stopped.train_step()
    resumed.load_state(copy.deepcopy(stopped.state()))
    for _ in range(2):
        resumed.train_step()
    states = [job.state() for job in (resumed, whole)]
    for state in states:
        del state["seconds"]
    same_bytes(*states)


def test_its_steps_may_be_captured(tiny: Make) -> None:
    """If torch cannot capture the second differentiation, `CUDAGraphRunner` says so and runs kernel by kernel."""
    assert cuda_graph.why_not_captured(tiny(norm="sn+gradnorm")) is None


@pytest.mark.parametrize(
    "settings", [{"norm": "sn+gradnorm"}, {"norm": "ln+gradnorm", "d_batch": "joint", "conditional": True}]
)
def test_dynamics_are_those_of_the_normalized_logits(
    tiny: Make, image_set: MakeImages, runtime: Runtime, settings: dict[str, Any]
) -> None:
    config = tiny(loss="hinge", dynamics=1, **settings)
    job = Trainer(config, runtime, image_set())
    meter = dynamics_meter(job)
    assert isinstance(meter, DynamicsMeter)
    sample = meter.sample(full=False)
    probe = meter._probe
    twin = meter._copy()
    losses = []
    for x, fake, (x_labels, z_labels) in zip(probe._real, probe._fakes(), probe._labels, strict=True):  # type: ignore[attr-defined]
        pair = gradient_normalized(twin, x, x_labels), gradient_normalized(twin, fake, z_labels)
        losses.append(LOSSES["hinge"].discriminator(*pair).item())
    assert len(losses) == PARTS and sample["loss"] == pytest.approx(sum(losses) / PARTS, rel=1e-4)
    assert all(layer["gradient_norm"] > 0 for name, layer in sample["layers"].items() if "embedding" not in name)


def test_bench_times_the_normalized_logits(runtime: Runtime) -> None:
    subject = Workload("quickstart", "gradnorm", 2, runtime)
    subject.train_step()
    for network in (subject.network, subject.folded):
        assert (subject.infer(network, 1).abs() <= 1).all()
    expected = gradient_normalized(subject.network, *subject._inputs[1])
    torch.testing.assert_close(subject.infer(subject.network, 1).clone(), expected.detach())
