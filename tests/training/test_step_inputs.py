"""Inputs of a step: each image with its own label, some mirrored, the same on every device."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from gan.config.train_config import TrainConfig
from gan.data.batches import Batches
from gan.data.image_set import ImageSet
from gan.runtime import Runtime
from gan.training.step_inputs import InputSampler

Make = Callable[..., TrainConfig]


@pytest.fixture
def images() -> ImageSet:
    """24 random images in 5 classes, in no order."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (24, 3, 32, 32), generator=generator).to(torch.uint8)
    return ImageSet.of(pixels, torch.randint(0, 5, (24,), generator=generator), "abcde")


@pytest.fixture(params=[False, True], ids=["on the host", "on the device"])
def make(request: pytest.FixtureRequest, tiny: Make, images: ImageSet, runtime: Runtime) -> Callable[..., InputSampler]:
    """Inputs of a run; the set lies with the host, or on the device, as it does on CUDA."""

    def inputs(**settings: object) -> InputSampler:
        made = InputSampler(tiny(conditional=True, **settings), runtime, images, 5)
        if request.param:
            made._resident = images.pixels
        return made

    return inputs


def test_each_real_image_has_its_own_label_and_is_mirrored_sideways(
    make: Callable[..., InputSampler], images: ImageSet
) -> None:
    inputs = make(flip=True, n_dis=2)
    assert images.pixels is not None and images.labels is not None
    mirrored = 0
    for step in range(6):  # 96 images of 24: over four epochs
        for draw in inputs.step_inputs(step, own_latents=True)[:2]:
            real, labels = inputs.real(draw)
            assert labels is not None
            for image, label in zip(((real + 1) * 127.5).round().to(torch.uint8), labels, strict=True):
                as_is, sideways = ((images.pixels == one).flatten(1).all(1) for one in (image, image.flip(2)))
                assert as_is.sum() + sideways.sum() == 1
                assert label == images.labels[as_is | sideways]
                mirrored += int(sideways.sum())
    assert 24 < mirrored < 72


def test_draws_are_the_batches_of_the_run(make: Callable[..., InputSampler], images: ImageSet) -> None:
    inputs = make(flip=True, n_dis=2)
    batches = Batches(images, 8, 0, flip=True)
    for step in (0, 1, 5):
        for turn, draw in enumerate(inputs.step_inputs(step, own_latents=True)[:2]):
            expected = batches.at(2 * step + turn)
            real, labels = inputs.real(draw)
            torch.testing.assert_close(real, expected.images, rtol=0, atol=0)
            torch.testing.assert_close(labels, expected.labels)


@pytest.mark.parametrize("loss", ["relativistic", "hinge"])
def test_pairs_have_the_same_label(make: Callable[..., InputSampler], loss: str) -> None:
    """R3GAN's discriminator compares a real image with a generated one of its class, in the updates of D and of G."""
    updates = make(loss=loss, n_dis=2).step_inputs(3, own_latents=True)
    real = [updates[number].real_labels for number in (0, 1, 1)]
    for update, labels in zip(updates, real, strict=True):
        assert update.fake_labels is not None and labels is not None
        assert torch.equal(update.fake_labels, labels) == (loss == "relativistic")


def test_an_unconditional_run_has_no_labels(tiny: Make, images: ImageSet, runtime: Runtime) -> None:
    inputs = InputSampler(tiny(), runtime, images, 0)
    (draw,) = inputs.step_inputs(0, own_latents=False)
    assert draw.fake_labels is None and inputs.real(draw)[1] is None
