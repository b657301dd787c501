"""The images that D and G are given in their updates."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from gan.config.train_config import TrainConfig
from gan.data.image_set import ImageSet
from gan.nn.diff_augment import apply_augmentations
from gan.runtime import Runtime
from gan.training.trainer import Trainer
from tests.helpers.states import weights

Make = Callable[..., TrainConfig]
MakeImages = Callable[..., ImageSet]


def test_joint_batches_are_seen_together(tiny: Make, image_set: MakeImages, runtime: Runtime) -> None:
    job = Trainer(tiny(d_batch="joint", norm="msn"), runtime, image_set())
    real, fake = torch.rand(8, 3, 32, 32) + 1, torch.rand(8, 3, 32, 32) - 1
    together = job.gan_step._discriminate((real, None), (fake, None))
    expected = job.discriminator(torch.cat([real, fake])).chunk(2)
    torch.testing.assert_close(together, expected)
    separate = Trainer(tiny(norm="msn"), runtime, image_set()).gan_step._discriminate((real, None), (fake, None))
    assert (separate[0] - together[0]).abs().max() > 1e-4


@pytest.mark.parametrize("settings", [{}, {"n_dis": 2, "r1": 1.0}, {"loss": "relativistic", "accumulate": 2}])
def test_d_sees_augmented_images_and_g_learns_through_them(
    tiny: Make, image_set: MakeImages, runtime: Runtime, settings: dict
) -> None:
    names = ("color", "translation", "cutout")
    job = Trainer(tiny(augment=names, **settings), runtime, image_set())
    seen: list[torch.Tensor] = []
    job.discriminator.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach()))
    updates = job.inputs.step_inputs(0, own_latents=not job.gan_step.reuses_latents)
    before = weights(job.generator)
    job.train_step()
    real, uniforms = job.inputs.real(updates[0])[0], updates[0].augmentation
    assert uniforms is not None and uniforms.shape == (8, 3, 7)
    size = 8 // job.config.accumulate
    expected = apply_augmentations(real[:size], uniforms[:size, 0], job.inputs.augmentations)
    torch.testing.assert_close(seen[0], expected, rtol=0, atol=0)
    fake = job.config.n_dis * 2 * job.config.accumulate
    assert len(seen) == fake + job.config.accumulate * (2 if job.gan_step.loss.uses_real else 1)
    assert any((before[key] != value).any() for key, value in weights(job.generator).items())
    again = Trainer(tiny(augment=names, **settings), runtime, image_set())
    again.train_step()
    torch.testing.assert_close(weights(again.discriminator), weights(job.discriminator), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("settings", "reused"),
    [
        ({}, True),
        ({"loss": "relativistic"}, False),
        ({"loss": "relativistic", "g_fakes": "reused"}, True),
        ({"g_fakes": "reused", "accumulate": 2}, True),
        ({"g_fakes": "new"}, False),
        ({"n_dis": 2}, False),
    ],
)
def test_images_of_the_generators_update(
    tiny: Make, image_set: MakeImages, runtime: Runtime, settings: dict, reused: bool
) -> None:
    job = Trainer(tiny(norm="none", **settings), runtime, image_set())
    seen: list[torch.Tensor] = []
    job.generator.register_forward_hook(lambda module, inputs, images: seen.append(inputs[0]))
    job.train_step()
    parts = job.config.accumulate
    assert len(seen) == (1 if reused and parts == 1 else job.config.n_dis + parts)
    of_d, of_g = (seen[0], torch.cat(seen[-parts:])) if len(seen) > 1 else (seen[0], seen[0])
    assert torch.equal(of_d, of_g) == reused
