"""Steps as graphs: on a CPU with a stand-in, whose replay calls what was captured, on its own memory."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gan.config.train_config import TrainConfig
from gan.data.image_set import ImageSet
from gan.runtime import Runtime
from gan.training import cuda_graph
from gan.training.trainer import Trainer

Make = Callable[..., TrainConfig]
MakeImages = Callable[..., ImageSet]

SCHEDULED: dict[str, object] = {
    **{"beta2": 0.9, "beta2_end": 0.99, "g_lr_end": 1e-4, "schedule_images": 50},
    **{"augment": ("color",), "augment_p": 0.0, "augment_p_end": 1.0},
}


@dataclass
class StandIn:
    """Replays what a CUDA graph would, by calling it."""

    call: Callable[[], None]

    def replay(self) -> None:
        self.call()


class DeviceAlone(TorchDispatchMode):
    """Refuses what a captured step must not do: to touch the host's memory. Tensors without data refuse to be read."""

    def __torch_dispatch__(self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        tensors = [value for value in tree_leaves((args, kwargs, result)) if isinstance(value, Tensor)]
        places = {tensor.device.type for tensor in tensors}
        # torch.tensor(number, device=...) shows as a lift_fresh alone, and is a copy from the host.
        if places - {"meta"} or function is torch.ops.aten.lift_fresh.default:
            raise AssertionError(f"{function} works on {' and '.join(sorted(places))}, or copies from the host")
        return result


def replayed(job: Trainer, capture: Callable[[Callable[[], None]], cuda_graph.Graph] = StandIn) -> Trainer:
    job._run_step = cuda_graph.CUDAGraphRunner(job.gan_step, capture, nullcontext)
    return job


def same_weights(first: Trainer, second: Trainer) -> None:
    for ours, theirs in ((first.generator, second.generator), (first.discriminator, second.discriminator)):
        torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"n_dis": 2, "flip": True, "conditional": True},
        {"decay": "linear"},
        {"augment": ("color", "cutout")},
        {"augment": ("color", "cutout"), "augment_p": 0.0, "augment_p_end": 1.0, "schedule_images": 50},
        {"r1": 1.0, "r1_end": 0.0, "r2": 0.0, "r2_end": 2.0, "schedule_images": 50},
    ],
)
def test_replayed_steps_take_new_inputs(
    tiny: Make, image_set: MakeImages, runtime: Runtime, settings: dict[str, object]
) -> None:
    """Only the first inputs' memory reaches the captured call, so it must hold each step's values."""
    config = tiny(steps=9, norm="msn", **settings)
    graph, plain = replayed(Trainer(config, runtime, image_set())), Trainer(config, runtime, image_set())
    for _ in range(cuda_graph.WARM_UP + 5):
        graph.train_step()
        plain.train_step()
    assert isinstance(graph._run_step, cuda_graph.CUDAGraphRunner) and graph._run_step._graph is not None
    same_weights(graph, plain)
    ours, theirs = graph.log_entry(), plain.log_entry()
    assert {name: ours[name] for name in ("loss_d", "loss_g", "d_accuracy", "variety")} == {
        name: theirs[name] for name in ("loss_d", "loss_g", "d_accuracy", "variety")
    }


@pytest.mark.parametrize("part", ["_parts", "_generate", "_logits"])
def test_where_capturing_fails_training_goes_on(
    tiny: Make, image_set: MakeImages, runtime: Runtime, capsys: pytest.CaptureFixture[str], part: str
) -> None:
    """Wherever in a step it fails: before D's update, in it, and in G's, while D does not learn."""

    def fail(call: Callable[[], None]) -> cuda_graph.Graph:
        def stop(*arguments: object) -> None:
            raise RuntimeError("operation not permitted when stream is capturing\nmore of it")

        networks = (graph.generator, graph.discriminator)
        before = copy.deepcopy([network.state_dict() for network in networks])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(graph.gan_step, part, stop)
            if part == "_logits":
                patch.setattr(graph.gan_step, "_update_discriminator", lambda *_, **__: None)
            try:
                call()
            finally:  # a capture runs nothing
                for network, state in zip(networks, before, strict=True):
                    network.load_state_dict(state)
        raise AssertionError("it did not fail")

    graph, plain = replayed(Trainer(tiny(), runtime, image_set()), fail), Trainer(tiny(), runtime, image_set())
    for _ in range(cuda_graph.WARM_UP + 2):
        graph.train_step()
        plain.train_step()
    same_weights(graph, plain)
    said = capsys.readouterr().err
    assert said.count("a CUDA graph could not be made: operation not permitted when stream is capturing\n") == 1


@pytest.mark.parametrize(
    "settings, reason",
    [
        ({}, None),
        ({"r1": 1.0}, None),
        ({"loss": "wgan", "gradient_penalty": 10.0}, None),
        ({"r1": 1.0, "penalty_every": 4}, "--penalty-every 4 makes steps differ"),
        ({"r1": 1.0, "penalty_every": 2, "n_dis": 2}, None),
        ({"beta2_end": 0.99, "schedule_images": 9}, None),
        ({"deterministic": True}, "--deterministic"),
    ],
)
def test_obstacles(tiny: Make, settings: dict[str, object], reason: str | None) -> None:
    found = cuda_graph.why_not_captured(tiny(**settings))
    assert found is None if reason is None else found is not None and reason in found


def test_several_ranks_are_an_obstacle(tiny: Make) -> None:
    assert "several ranks" in str(cuda_graph.why_not_captured(tiny(), ranks=2))


@pytest.mark.parametrize(
    "settings",
    [
        {"norm": "msn"},
        {"norm": "msn", "network": "resnet", "loss": "hinge", "n_dis": 2, "conditional": True, "flip": True},
        {"norm": "sn", "accumulate": 2, "augment": ("color", "translation", "cutout")},
        {"norm": "none", "augment": ("color", "cutout"), "augment_p_end": 0.5, "r1_end": 1.0, "schedule_images": 50},
        {"norm": "bn", "loss": "relativistic", "d_batch": "joint"},
        {"norm": "in", "loss": "wgan", "n_dis": 2},
        {"norm": "mean", "network": "resnet", "loss": "lsgan"},
    ],
)
def test_a_step_works_on_the_device_alone(
    tiny: Make, image_set: MakeImages, monkeypatch: pytest.MonkeyPatch, settings: dict[str, object]
) -> None:
    """On tensors without data (device "meta") whatever reads a number, or mixes devices, is an error."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # knows no such device
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda *_: False)
    data = image_set()
    job = Trainer(tiny(**settings), Runtime(torch.device("meta"), bf16=False), data)
    step = job.gan_step
    step.check_finite = False
    # On other devices than CUDA Adam counts its steps on the host.
    step.g_optimizer, step.d_optimizer = (torch.optim.SGD(n.parameters()) for n in (job.generator, job.discriminator))
    assert data.pixels is not None
    job.inputs._resident = data.pixels.to("meta")
    inputs = job.inputs.step_inputs(0, own_latents=not step.reuses_latents)
    step(0, inputs)  # optimizers and sums make their state
    with DeviceAlone():
        step(1, inputs)
        job.ema.update(job.generator, 8, 8)
    assert all(p.grad is not None and p.grad.is_meta for p in job.generator.parameters())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("settings", [{}, {"n_dis": 2, "decay": "linear", "norm": "msn", "loss": "hinge"}, SCHEDULED])
def test_cuda_graph_is_the_step_kernel_by_kernel(
    tiny: Make, image_set: MakeImages, settings: dict[str, object]
) -> None:
    from gan.runtime import resolve_runtime

    machine = resolve_runtime("cuda", "fp32")
    torch.backends.cudnn.benchmark = False
    graph, plain = (Trainer(tiny(steps=12, **settings), machine, image_set()) for _ in range(2))
    plain._run_step = plain.gan_step
    for _ in range(cuda_graph.WARM_UP + 6):
        graph.train_step()
        plain.train_step()
    assert isinstance(graph._run_step, cuda_graph.CUDAGraphRunner) and graph._run_step._graph is not None
    for ours, theirs in ((graph.generator, plain.generator), (graph.discriminator, plain.discriminator)):
        torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=1e-3, atol=1e-5)
