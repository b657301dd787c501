"""Training steps of GANs on the fake device: the step makes no tensor on the CPU, reads none and copies none."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from gan.config.train_config import TrainConfig
from gan.nn.losses import LOSSES
from gan.runtime import Runtime
from gan.training.trainer import Trainer
from tests.helpers.fake_device import DeviceOnly, fake_images

RECIPES: dict[str, dict[str, Any]] = {
    "dcgan": {"norm": "msn"},
    "sngan-cnn": {"network": "sngan-cnn", "norm": "sn", "loss": "logistic", "channels": 1},
    "resnet": {"network": "resnet", "norm": "msn", "flip": True},
    "joint": {"d_batch": "joint", "norm": "msn", "loss": "wgan"},
    "n_dis": {"n_dis": 3, "decay": "linear", "norm": "sn", "loss": "lsgan"},
    "accumulate": {"accumulate": 2, "loss": "relativistic", "d_batch": "joint"},
    "conditional": {"network": "resnet", "conditional": True, "d_batch": "joint", "precision": "bf16"},
    "conditional penalties": {"conditional": True, "r2": 0.1, "norm": "ln"},
    "penalty_every": {"r1": 0.1, "norm": "none", "penalty_every": 2, "precision": "bf16"},
    "joint penalties": {"d_batch": "joint", "r1": 0.1, "r2": 0.1, "norm": "sn", "loss": "relativistic"},
    "gradient penalty": {"loss": "wgan", "gradient_penalty": 10.0, "norm": "in"},
    "augment": {"augment": ("color", "translation", "cutout"), "flip": True, "precision": "bf16"},
    "augment penalties": {"augment": ("color", "cutout"), "r1": 0.1, "gradient_penalty": 1.0, "norm": "sn"},
    "gradnorm": {"norm": "sn+gradnorm", "precision": "bf16"},
    "norm_layers": {"norm": "sn-conv+mean", "norm_layers": (2, 3)},
}
Tiny = Callable[..., TrainConfig]


def train(config: TrainConfig, runtime: Runtime, steps: int = 1) -> Trainer:
    """Train on the device alone. Each step is called directly: a CUDA graph would need a driver."""
    trainer = Trainer(config, runtime, fake_images(channels=config.channels))
    for step in range(steps):
        inputs = trainer.inputs.step_inputs(step, own_latents=not trainer.gan_step.reuses_latents)
        assert all(tensor.device == runtime.device for update in inputs for tensor in update.tensors())
        with DeviceOnly():
            trainer._set_learning_rates()
            trainer.gan_step(step, inputs)
            trainer.ema.update(trainer.generator, config.batch, config.batch)
        trainer.step += 1
        trainer.metrics.steps += 1
    return trainer


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_step_stays_on_the_device(recipe: str, gpu: Runtime, tiny: Tiny) -> None:
    config = tiny(**RECIPES[recipe])
    trainer = train(config, replace(gpu, bf16=config.precision == "bf16"), steps=config.penalty_every)
    for network in (trainer.generator, trainer.discriminator):
        gradients = [weight.grad for weight in network.parameters()]
        assert all(gradient is not None and gradient.device == gpu.device for gradient in gradients)
    assert all(value.device == gpu.device for value in trainer.ema.network.state_dict().values())


def test_every_loss_has_a_recipe() -> None:
    assert {recipe.get("loss", TrainConfig().loss) for recipe in RECIPES.values()} == set(LOSSES)


def test_images_that_stay_in_main_memory(gpu: Runtime, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: (0, 0))
    trainer = train(tiny(flip=True, conditional=True), gpu)
    assert trainer.inputs._resident is None


def test_a_checkpoint_and_a_line_of_the_log(gpu: Runtime, tiny: Tiny) -> None:
    """Their numbers are read from the device, where each is 1."""
    trainer = train(tiny(r1=0.1), gpu)
    state = trainer.state()
    again = Trainer(trainer.config, gpu, trainer.data)
    again.load_state(state)
    for trained in (trainer, again):
        assert {value.device for value in trained.metrics._sums.values()} == {gpu.device}
        entry = trained.log_entry()
        assert math.isfinite(entry["loss_d"])
