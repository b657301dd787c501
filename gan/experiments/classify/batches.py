"""Batches of a classifier training as a function of (seed, step), shifted and mirrored on whole uint8 tensors."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from gan.data.batches import Batches, to_float
from gan.data.device_resident import pixels_on_gpu
from gan.data.image_set import ImageSet
from gan.runtime import Runtime
from gan.utils.random_streams import CROPS, random_stream

PAD = 4  # largest shift of an image, in pixels
_SHARE_OF_MEMORY = 0.5  # largest share of a GPU's free memory that the image set may take
_TEST_BATCH = 256


class LabelledBatch(NamedTuple):
    """Images, float32 (B, C, R, R) in [-1, 1], and labels, int64 (B,), on the device."""

    images: Tensor
    labels: Tensor


class TrainingBatches:
    """Batches of a training, numbered from 0, equal for all norms and learning rates.

    Args:
        images: the set, with labels. A GPU keeps a set that fits into half of its free memory.
        batch: images per batch.
        seed: seed of the training.
        augment: `none`, `crop` (shifted by up to `PAD` pixels, with reflected borders) or `crop-flip`.
        runtime: device of the batches.
    """

    def __init__(self, images: ImageSet, batch: int, seed: int, augment: str, runtime: Runtime) -> None:
        assert images.labels is not None
        self._seed, self._batch = seed, batch
        self._shifted = augment != "none"
        self._batches = Batches(images, batch, seed, flip=augment == "crop-flip")
        self._send = runtime.send
        self._labels = images.labels
        self._resident = pixels_on_gpu(images, runtime.device, share=_SHARE_OF_MEMORY)

    def at(self, step: int) -> LabelledBatch:
        """Return batch number `step`."""
        samples = self._batches.samples(step)
        if self._resident is not None:
            pixels = self._resident.index_select(0, self._send(samples.indices))
        else:
            pixels = self._send(self._batches.pixels(step))
        if self._shifted:
            flips = None if samples.flips is None else self._send(samples.flips)
            pixels = shift_images(pixels, self._send(self.shifts(step)), flips)
        images = to_float(pixels).to(memory_format=torch.channels_last)
        return LabelledBatch(images, self._send(self._labels[samples.indices]))

    def shifts(self, step: int) -> Tensor:
        """Return the shifts of a batch down and to the right, int64 (B, 2) in -PAD..PAD."""
        stream = random_stream(self._seed, CROPS, step)
        return torch.randint(-PAD, PAD + 1, (self._batch, 2), generator=stream)

    def close(self) -> None:
        """Stop prefetching."""
        self._batches.close()


def shift_images(images: Tensor, shifts: Tensor, flips: Tensor | None = None) -> Tensor:
    """Mirror images (B, C, R, R) where `flips` is True, then shift them with reflected borders.

    Equal to a crop of R pixels from the image padded by reflection.

    Args:
        shifts: pixels down and to the right, int64 (B, 2), less than R, on the images' device.
        flips: bool (B,) on the same device, or None.
    """
    count, channels, height, width = images.shape
    positions = torch.arange(max(height, width), device=images.device)
    rows = _reflect(positions[:height] - shifts[:, :1], height)  # (B, H): source row of each row
    columns = _reflect(positions[:width] - shifts[:, 1:], width)
    if flips is not None:
        columns = torch.where(flips[:, None], width - 1 - columns, columns)
    sources = (rows[:, :, None] * width + columns[:, None, :]).flatten(1)  # (B, H*W)
    sources = sources[:, None].expand(count, channels, height * width)
    return images.flatten(2).gather(2, sources).view_as(images)


def ordered_batches(images: ImageSet, runtime: Runtime) -> Iterator[LabelledBatch]:
    """Yield all images of a set once, in order, without augmentation."""
    assert images.labels is not None
    for indices in torch.arange(len(images)).split(_TEST_BATCH):
        x = to_float(images.fetch(indices).to(runtime.device))
        yield LabelledBatch(x.to(memory_format=torch.channels_last), images.labels[indices].to(runtime.device))


def _reflect(positions: Tensor, size: int) -> Tensor:
    """Reflect positions outside 0..size-1 back into the range, without repeating the border."""
    positions = positions.abs()
    return torch.where(positions >= size, 2 * (size - 1) - positions, positions)
