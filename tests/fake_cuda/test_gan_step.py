"""Training steps of GANs on the fake device: the step makes no tensor on the CPU, reads none and copies none."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from gan.config.train_config import TrainConfig
from gan.nn import affine_warp
from gan.nn.losses import LOSSES
from gan.runtime import Runtime
from gan.training.health import variety
from gan.training.trainer import Trainer
from tests.helpers.fake_device import device_only, fake_images

# Norms are in `test_norms.py`; most recipes have none, since each power iteration takes as long as a layer's backward.
RECIPES: dict[str, dict[str, Any]] = {
    "msn": {"norm": "msn"},
    "sngan-cnn": {"network": "sngan-cnn", "norm": "sn"},
    "resnet": {"network": "resnet", "norm": "sn", "flip": True},
    "joint": {"d_batch": "joint", "loss": "wgan"},
    "n_dis": {"n_dis": 3, "decay": "linear"},
    "accumulate": {"accumulate": 2, "loss": "relativistic", "d_batch": "joint"},
    "conditional": {"network": "resnet", "conditional": True, "d_batch": "joint"},
    "conditional penalties": {"conditional": True, "r1": 0.1, "r2": 0.1, "norm": "ln"},
    "r1": {"r1": 0.1, "penalty_every": 2, "steps": 2},
    "joint penalties": {"d_batch": "joint", "r1": 0.1, "r2": 0.1, "loss": "relativistic"},
    "gradient penalty": {"loss": "wgan", "gradient_penalty": 10.0, "n_dis": 2},
    "augment": {"augment": ("color", "translation", "cutout"), "flip": True},
    "augment penalties": {"augment": ("color", "cutout"), "r1": 0.1, "gradient_penalty": 1.0},
    "gradnorm": {"norm": "sn+gradnorm"},
    "gradnorm r1": {"norm": "gradnorm", "r1": 0.1},
    "norm_layers": {"norm": "sn-conv+mean", "norm_layers": (2, 3)},
    "freeze_d": {"freeze_d": 2},
    "scheduled": {"schedule_images": 1000, "g_lr_end": 1e-5, "beta2_end": 0.999, "ema_half_life_end": 100.0},
    "scheduled penalties": {"schedule_images": 1000, "r1": 1.0, "r1_end": 0.1, "beta2_end": 0.99},
    "scheduled augment": {"schedule_images": 1000, "augment": ("cutout",), "augment_p": 0.0, "augment_p_end": 0.3},
    "ada": {"augment": ("ada",), "ada_target": 0.6},
    "r3gan": {"network": "r3gan", "g_width": 8, "d_width": 8, "norm": "msn", "r1": 0.1, "augment": ("ada-r3gan",)},
    "deterministic": {"deterministic": True, "augment": ("translation",)},
    **{loss: {"loss": loss, "channels": 1} for loss in LOSSES},
}
BF16 = ("msn", "conditional", "joint penalties", "gradnorm r1", "scheduled augment")
CASES = [(recipe, "fp32") for recipe in RECIPES] + [(recipe, "bf16") for recipe in BF16]
Tiny = Callable[..., TrainConfig]


@pytest.fixture(autouse=True)
def _filters_of_ada() -> Iterator[None]:
    """Fake tensors must not outlive their mode, in the cache of filters."""
    affine_warp._filters.cache_clear()
    with torch.backends.cudnn.flags(enabled=False):  # cuDNN's grid sampler has no fake implementation
        yield
    affine_warp._filters.cache_clear()


def train(config: TrainConfig, runtime: Runtime) -> Trainer:
    """Train on the device alone. Each step is called directly: a CUDA graph would need a driver."""
    trainer = Trainer(config, runtime, fake_images(channels=config.channels))
    for side in [config.resolution] if {"ada", "ada-r3gan"} & {*config.augment} else []:
        affine_warp._filters(side, torch.float32, runtime.device)  # from the host in the first step, then kept
    for step in range(config.steps):
        inputs = trainer.inputs.step_inputs(step, own_latents=not trainer.gan_step.reuses_latents)
        assert all(tensor.device == runtime.device for update in inputs for tensor in update.tensors())
        with device_only():
            scheduled = trainer._set_scheduled()
            trainer.gan_step(step, inputs)
            trainer.ema.update(trainer.generator, config.batch, config.batch, scheduled.get("ema_half_life"))
        trainer.step += 1
        trainer.metrics.steps += 1
    return trainer


@pytest.mark.parametrize(("recipe", "precision"), CASES)
def test_a_step_stays_on_the_device(recipe: str, precision: str, gpu: Runtime, tiny: Tiny) -> None:
    config = tiny(**{"norm": "none", "steps": 1, **RECIPES[recipe]})
    trainer = train(config, replace(gpu, bf16=precision == "bf16"))
    for network in (trainer.generator, trainer.discriminator):
        gradients = [weight.grad for weight in network.parameters() if weight.requires_grad]
        assert all(gradient is not None and gradient.device == gpu.device for gradient in gradients)
    assert all(value.device == gpu.device for value in trainer.ema.network.state_dict().values())


def test_images_that_stay_in_main_memory(gpu: Runtime, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: (0, 0))
    trainer = train(tiny(flip=True, conditional=True, norm="none", steps=1), gpu)
    assert trainer.inputs._resident is None


def test_a_checkpoint_and_a_line_of_the_log(gpu: Runtime, tiny: Tiny) -> None:
    """Their numbers are read from the device, where each is 1."""
    trainer = train(tiny(r1=0.1, norm="none", steps=1), gpu)
    state = trainer.state()
    again = Trainer(trainer.config, gpu, trainer.data)
    again.load_state(state)
    for trained in (trainer, again):
        assert {value.device for value in trained.metrics._sums.values()} == {gpu.device}
        entry = trained.log_entry()
        assert math.isfinite(entry["loss_d"])


@pytest.mark.parametrize("count", [1, 3])
def test_variety_stays_on_the_device(count: int, gpu: Runtime) -> None:
    images = torch.ones(count, 3, 8, 8, device=gpu.device)
    with device_only():
        assert variety(images, images).shape == ()
