"""Whole steps of a run on the fake device, and the weights of another run. No captured graph really replays."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from gan.runs.checkpoint import CheckpointFile
from gan.runtime import Runtime
from gan.training import cuda_graph
from gan.training.optimizers import DeviceBeta2Adam
from gan.training.trainer import Trainer
from gan.training.transfer import take_weights
from tests.fake_cuda.test_gan_step import Tiny
from tests.helpers.fake_device import device_only, fake_images


class _Graph:
    replays = 0

    def replay(self) -> None:
        self.replays += 1


@pytest.fixture
def graph(monkeypatch: pytest.MonkeyPatch) -> _Graph:
    """The graph that is captured: the step runs once, on the device alone, as CUDA demands."""
    graph = _Graph()

    def capture(call: Callable[[], None]) -> _Graph:
        with device_only():
            call()
        return graph

    monkeypatch.setattr(cuda_graph, "_capture", capture)
    monkeypatch.setattr(cuda_graph, "_side_stream", nullcontext)
    return graph


CAPTURED: dict[str, dict[str, Any]] = {
    "conditional": {"conditional": True, "flip": True, "augment": ("translation",)},
    "scheduled": {
        "schedule_images": 1000,
        **{"d_lr_end": 1e-5, "beta2_end": 0.99, "augment": ("cutout",), "augment_p": 0.0, "augment_p_end": 0.3},
    },
    "n_dis": {"n_dis": 2, "decay": "linear", "loss": "relativistic"},
}


@pytest.mark.parametrize("recipe", CAPTURED)
def test_a_captured_step(recipe: str, gpu: Runtime, tiny: Tiny, graph: _Graph) -> None:
    config = tiny(norm="none", **CAPTURED[recipe])
    trainer = Trainer(config, gpu, fake_images())
    assert isinstance(trainer.d_optimizer, DeviceBeta2Adam) == (recipe == "scheduled")
    for _ in range(cuda_graph.WARM_UP + 2):
        trainer.train_step()
    assert graph.replays == 2
    assert trainer.log_entry()["images"] == trainer.images_seen


def test_weights_of_another_run(gpu: Runtime, tiny: Tiny) -> None:
    source, target = (Trainer(tiny(norm=norm), gpu, fake_images()) for norm in ("sn", "msn"))
    state = source.state()
    for name in ("generator", "average", "discriminator"):  # as they are read from a file
        state[name] = {key: value.cpu() for key, value in state[name].items()}
    take_weights(target, CheckpointFile(Path("step.pt"), state, "0" * 64))
    for network in (target.generator, target.discriminator, target.ema.network):
        assert all(value.device == gpu.device for value in network.state_dict().values())
