"""Trainings with `ada`: the probability reaches the images, adapts, and is resumed exactly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from gan.config.train_config import TrainConfig
from gan.data.image_set import ImageSet
from gan.runtime import Runtime
from gan.training.trainer import Trainer
from tests.helpers.states import same_bytes, trained

Make = Callable[..., TrainConfig]
MakeImages = Callable[..., ImageSet]
ADAPTED: dict[str, Any] = {"augment": ("ada",), "ada_target": 0.0, "ada_images": 200, "steps": 12, "norm": "none"}


@pytest.mark.parametrize("more", [{}, {"r1": 1.0, "r2": 1.0, "loss": "relativistic"}, {"accumulate": 2}])
def test_p_adapts_and_is_resumed(tiny: Make, image_set: MakeImages, runtime: Runtime, more: dict[str, Any]) -> None:
    config, images = tiny(**ADAPTED, **more), image_set()
    whole = Trainer(config, runtime, images)
    entries = []
    for step in range(12):
        whole.train_step()
        if step % 4 == 3:
            entries.append(whole.log_entry()["scheduled"]["augment_p"])
    change = 8 * 4 / 200  # of p after every fourth update of batch 8
    steps = [round(p / change, 5) for p in (0.0, *entries)]
    assert all(abs(b - a) in (0, 1) for a, b in zip(steps, steps[1:], strict=False)) and max(steps) > 0
    first = trained(config, runtime, images, 6)
    resumed, uninterrupted = trained(config, runtime, images, 6, first.state()).state(), whole.state()
    for name in ("generator", "discriminator", "average", "d_optimizer", "adaptive"):
        same_bytes(resumed[name], uninterrupted[name], name)


def test_a_loss_of_pairs_adapts_by_their_difference(tiny: Make, image_set: MakeImages, runtime: Runtime) -> None:
    """The sign of a logit alone says nothing there, also where the loss is the user's own."""
    job = Trainer(tiny(**{**ADAPTED, "loss": "relativistic"}), runtime, image_set())
    job.gan_step.config = job.config.replace({"loss": "hinge"})  # the name does not matter
    seen: list[Any] = []
    assert job.gan_step.adaptive is not None
    job.gan_step.adaptive.update = lambda real, fake: seen.append(fake)  # type: ignore[method-assign]
    job.train_step()
    assert seen and all(fake is not None for fake in seen)


def test_p_of_0_is_a_training_without_augmentation(tiny: Make, image_set: MakeImages, runtime: Runtime) -> None:
    states = []
    for settings in ({}, {"augment": ("ada",), "augment_p": 0.0}, {"augment": ("ada-r3gan",), "augment_p": 1.0}):
        job = Trainer(tiny(**settings), runtime, image_set())
        for _ in range(2):
            job.train_step()
        states.append(job.generator.state_dict())
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name
    assert any(not torch.equal(value, states[2][name]) for name, value in states[0].items())
