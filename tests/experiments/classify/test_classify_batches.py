"""Batches of a classifier training: functions of seed and step; shifts equal a crop of a padded image."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gan.data.batches import Batches
from gan.data.image_set import ImageSet
from gan.experiments.classify.batches import PAD, TrainingBatches, ordered_batches, shift_images
from gan.runtime import Runtime


@pytest.fixture
def pixels() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (6, 3, 12, 12), generator=generator).to(torch.uint8)


@pytest.mark.parametrize("flip", [False, True])
def test_a_shift_is_a_crop_of_the_image_padded_by_reflection(pixels: Tensor, flip: bool) -> None:
    shifts = torch.tensor([[0, 0], [PAD, -PAD], [-PAD, PAD], [1, 2], [-3, 0], [0, 4]])
    flips = torch.tensor([True, False, True, False, True, True]) if flip else None
    got = shift_images(pixels, shifts, flips)
    assert got.dtype == torch.uint8
    for image, (down, right), mirrored, result in zip(
        pixels, shifts.tolist(), [False] * 6 if flips is None else flips.tolist(), got, strict=True
    ):
        padded = F.pad((image.flip(2) if mirrored else image).float()[None], (PAD,) * 4, mode="reflect")[0]
        crop = padded[:, PAD - down : PAD - down + 12, PAD - right : PAD - right + 12]
        assert torch.equal(result, crop.to(torch.uint8))


def test_batches_depend_on_seed_and_step_alone(image_set: Callable[..., ImageSet], runtime: Runtime) -> None:
    images = image_set()
    first, again = (TrainingBatches(images, 7, 3, "crop-flip", runtime) for _ in range(2))
    forward = [first.at(step) for step in range(5)]
    backward = [again.at(step) for step in reversed(range(5))][::-1]
    for one, other in zip(forward, backward, strict=True):
        assert torch.equal(one.images, other.images) and torch.equal(one.labels, other.labels)
    assert not torch.equal(forward[0].images, TrainingBatches(images, 7, 4, "crop-flip", runtime).at(0).images)
    assert not torch.equal(first.shifts(0), first.shifts(1))
    every = torch.cat([first.shifts(step) for step in range(200)])
    assert every.min() == -PAD and every.max() == PAD


def test_augmentation_changes_pixels_and_not_the_order(image_set: Callable[..., ImageSet], runtime: Runtime) -> None:
    images = image_set()
    plain, moved = (TrainingBatches(images, 8, 0, augment, runtime).at(1) for augment in ("none", "crop-flip"))
    assert torch.equal(plain.labels, moved.labels) and not torch.equal(plain.images, moved.images)
    batch = Batches(images, 8, 0).at(1)
    assert torch.equal(plain.images, batch.images) and torch.equal(plain.labels, batch.labels)
    assert plain.images.is_contiguous(memory_format=torch.channels_last)


def test_a_streamed_set_gives_the_same_batches(image_set: Callable[..., ImageSet], runtime: Runtime) -> None:
    images = image_set()
    streamed = dataclasses.replace(images, store=_Elsewhere(images))
    assert streamed.pixels is None and images.pixels is not None
    kept, read = (TrainingBatches(each, 8, 0, "crop-flip", runtime) for each in (images, streamed))
    for step in range(4):
        assert torch.equal(kept.at(step).images, read.at(step).images)
    read.close()


class _Elsewhere:
    """An image store that is not a tensor in memory."""

    def __init__(self, images: ImageSet) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def fetch(self, indices: Tensor) -> Tensor:
        return self.images.fetch(indices)


def test_a_part_of_a_set(image_set: Callable[..., ImageSet]) -> None:
    images = image_set()
    chosen = torch.tensor([5, 2, 7])
    part = images.part(chosen)
    assert (
        part.pixels is not None and part.labels is not None and images.pixels is not None and images.labels is not None
    )
    assert len(part) == 3 and torch.equal(part.pixels, images.pixels[chosen])
    assert torch.equal(part.labels, images.labels[chosen]) and part.classes == images.classes
    assert len({images.fingerprint, part.fingerprint, images.part(chosen.flip(0)).fingerprint}) == 3
    streamed = dataclasses.replace(images, store=_Elsewhere(images))
    other = streamed.part(chosen)
    assert other.pixels is None and len(other) == 3
    assert torch.equal(other.fetch(torch.tensor([1, 0])), images.pixels[chosen[[1, 0]]])


def test_all_test_images_once(image_set: Callable[..., ImageSet], runtime: Runtime) -> None:
    images = image_set(count=300)
    seen = list(ordered_batches(images, runtime))
    assert [len(batch.labels) for batch in seen] == [256, 44]
    assert images.labels is not None and torch.equal(torch.cat([batch.labels for batch in seen]), images.labels)
    assert seen[0].images.min() >= -1 and seen[0].images.max() <= 1
