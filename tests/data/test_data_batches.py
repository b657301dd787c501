from __future__ import annotations

import itertools

import pytest
import torch

from gan.data.batches import Batches, to_float
from gan.data.image_set import ImageSet
from gan.errors import UsageError

COUNT = 23


@pytest.fixture
def images() -> ImageSet:
    """Images of which number k has k in its left column, 255 - k in its right column, and the label k % 3."""
    numbers = torch.arange(COUNT, dtype=torch.uint8)
    pixels = torch.stack([numbers, 255 - numbers], 1).reshape(COUNT, 1, 1, 2).expand(COUNT, 3, 2, 2).contiguous()
    return ImageSet.of(pixels, torch.arange(COUNT) % 3, ("a", "b", "c"))


def numbers(batch) -> list[int]:
    """The images of a batch, mirrored or not."""
    left, right = ((batch.images[:, 0, 0, column] + 1) * 127.5 for column in (0, 1))
    return torch.minimum(left, right).round().int().tolist()


def mirrored(batch) -> list[bool]:
    return (batch.images[:, 0, 0, 0] > batch.images[:, 0, 0, 1]).tolist()


@pytest.mark.parametrize("batch", [1, 5, 7, COUNT])
@pytest.mark.parametrize("flip", [False, True])
def test_every_epoch_visits_every_image_once(images, batch, flip):
    batches = Batches(images, batch, 0, flip=flip)
    epochs = 4
    seen = itertools.chain.from_iterable(numbers(batches.at(index)) for index in range(-(-epochs * COUNT // batch)))
    seen = list(seen)
    orders = [seen[start : start + COUNT] for start in range(0, epochs * COUNT, COUNT)]
    assert all(sorted(order) == list(range(COUNT)) for order in orders)
    assert len({tuple(order) for order in orders}) == epochs


def test_a_batch_may_end_one_epoch_and_begin_the_next(images):
    parts = numbers(Batches(images, 20, 0).at(1))
    single = Batches(images, 1, 0)
    assert parts == [numbers(single.at(index))[0] for index in range(20, 40)]
    assert sorted(numbers(Batches(images, 20, 0).at(0)) + parts[:3]) == list(range(COUNT))


@pytest.mark.parametrize("order", [[9, 3, 3, 0, 8, 100, 9], range(12), range(11, -1, -1)])
def test_a_batch_depends_on_its_number_alone(images, order):
    used = Batches(images, 7, 5, flip=True)
    for index in order:
        fresh = Batches(images, 7, 5, flip=True).at(index)
        got = used.at(index)
        assert torch.equal(got.images, fresh.images)
        assert torch.equal(got.labels, fresh.labels)


def test_seeds_differ(images):
    orders = {tuple(numbers(Batches(images, COUNT, seed).at(0))) for seed in range(10)}
    assert len(orders) == 10


def test_labels_belong_to_their_images(images):
    batch = Batches(images, 7, 0, flip=True).at(2)
    assert batch.labels.dtype == torch.int64
    assert batch.labels.tolist() == [number % 3 for number in numbers(batch)]


def test_an_unlabelled_set_has_no_labels(images):
    assert Batches(ImageSet.of(images.pixels), 7, 0).at(0).labels is None


def test_half_of_the_samples_are_mirrored_and_the_order_stays(images):
    with_flip, without = Batches(images, COUNT, 0, flip=True), Batches(images, COUNT, 0)
    flips = []
    for index in range(100):
        batch = with_flip.at(index)
        flips.append(mirrored(batch))
        assert numbers(batch) == numbers(without.at(index))
        assert not any(mirrored(without.at(index)))
    rate = sum(map(sum, flips)) / (100 * COUNT)
    assert abs(rate - 0.5) < 0.05  # 4.8 standard deviations of 2300 draws
    assert len({tuple(row) for row in flips}) == 100


def test_samples_say_what_a_batch_is_made_of(images):
    batches = Batches(images, 7, 0, flip=True)
    samples, batch = batches.samples(5), batches.at(5)
    assert samples.indices.tolist() == numbers(batch)
    assert samples.flips.tolist() == mirrored(batch)
    assert Batches(images, 7, 0).samples(5).flips is None


def test_batches_are_float_and_leave_the_set_alone(images):
    before = images.pixels.clone()
    batch = Batches(images, 7, 0, flip=True).at(0)
    assert batch.images.shape == (7, 3, 2, 2)
    assert batch.images.dtype == torch.float32
    batch.images.fill_(0)
    assert torch.equal(images.pixels, before)


def test_all_levels_survive_the_way_to_float_and_back():
    levels = torch.arange(256, dtype=torch.uint8)
    floats = to_float(levels)
    assert floats.min() == -1 and floats.max() == 1
    assert torch.equal(floats, levels.float() / 127.5 - 1)
    assert torch.equal(((floats + 1) * 127.5).round().to(torch.uint8), levels)


def test_a_batch_larger_than_the_set_is_refused(images):
    with pytest.raises(UsageError, match="batch of 24 images is more than the 23 .* choose a batch of 23 or fewer"):
        Batches(images, 24, 0)
    with pytest.raises(UsageError, match="at least 1 image, not 0"):
        Batches(images, 0, 0)


def test_negative_numbers_are_refused(images):
    with pytest.raises(ValueError, match="numbered from 0"):
        Batches(images, 2, 0).at(-1)


def test_fingerprint_of_a_set_made_of_tensors(images):
    same = ImageSet.of(images.pixels.clone(), images.labels.clone())
    assert same.fingerprint == images.fingerprint
    assert ImageSet.of(images.pixels).fingerprint != images.fingerprint
    assert ImageSet.of(images.pixels, 2 - images.labels).fingerprint != images.fingerprint
    assert ImageSet.of(images.pixels.flip(0), images.labels).fingerprint != images.fingerprint
