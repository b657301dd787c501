"""Batches of a training: a function of (seed, step), shifted and mirrored on whole tensors of bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from gan.data import Batches, ImageSet
from gan.data.batches import to_float
from gan.data.device_resident import pixels_on_gpu
from gan.runtime import Runtime
from gan.utils.random_streams import CROPS, random_stream

PAD = 4  # pixels that an image is shifted by at most
_SHARE = 0.5  # of a GPU's free memory that images may take
_TEST_BATCH = 256


class LabelledBatch(NamedTuple):
    """Images, float32 (B, C, R, R) in [-1, 1], and labels, int64 (B,), on the device."""

    images: Tensor
    labels: Tensor


class TrainingBatches:
    """The batches of a training, numbered from 0: the same for every norm and learning rate.

    Args:
        images: the set, with labels.
        batch: images in a batch.
        seed: of the training.
        augment: `none`, `crop` (shifted by up to `PAD` pixels, the borders reflected) or `crop-flip`.
        runtime: where the batches go. A GPU keeps the bytes of a set that fits into half of its free memory.
    """

    def __init__(self, images: ImageSet, batch: int, seed: int, augment: str, runtime: Runtime) -> None:
        assert images.labels is not None
        self.seed = seed
        self.batch = batch
        self.crops = augment != "none"
        self._batches = Batches(images, batch, seed, flip=augment == "crop-flip")
        self._send = runtime.send
        self._pixels, self._labels = images.pixels, images.labels
        if (on_gpu := pixels_on_gpu(images, runtime.device, share=_SHARE)) is not None:
            self._pixels = on_gpu

    def at(self, step: int) -> LabelledBatch:
        """Batch number `step`."""
        shifts = self.shifts(step) if self.crops else None
        if self._pixels is None:  # a streamed set: it is read ahead, and mirrored already
            got = self._batches.at(step)
            assert got.labels is not None
            images, labels = got.images, got.labels
            images = images if shifts is None else shift_images(images, shifts)
        else:
            samples = self._batches.samples(step)
            pixels = self._pixels.index_select(0, self._beside(samples.indices))
            if shifts is not None:
                flips = None if samples.flips is None else self._beside(samples.flips)
                pixels = shift_images(pixels, self._beside(shifts), flips)
            images, labels = to_float(pixels), self._labels[samples.indices]
        return LabelledBatch(self._send(images).to(memory_format=torch.channels_last), self._send(labels))

    def _beside(self, numbers: Tensor) -> Tensor:
        """What says which pixels to take, where the pixels are."""
        return self._send(numbers) if self._pixels is not None and self._pixels.device.type == "cuda" else numbers

    def shifts(self, step: int) -> Tensor:
        """How far each image of a batch is shifted down and to the right, int64 (B, 2), in -PAD..PAD."""
        stream = random_stream(self.seed, CROPS, step)
        return torch.randint(-PAD, PAD + 1, (self.batch, 2), generator=stream)

    def close(self) -> None:
        """Stop reading ahead."""
        self._batches.close()


def shift_images(images: Tensor, shifts: Tensor, flips: Tensor | None = None) -> Tensor:
    """Images (B, C, R, R), first mirrored where `flips` says so, then moved, with their borders reflected.

    The same as a crop of R pixels from the image padded by reflection.

    Args:
        shifts: pixels down and to the right, int64 (B, 2), of less than R; on the images' device.
        flips: bool (B,), there too, or None.
    """
    count, channels, height, width = images.shape
    place = torch.arange(max(height, width), device=images.device)
    rows = _reflected(place[:height] - shifts[:, :1], height)  # (B, H): the row that each row is taken from
    columns = _reflected(place[:width] - shifts[:, 1:], width)
    if flips is not None:
        columns = torch.where(flips[:, None], width - 1 - columns, columns)
    at = (rows[:, :, None] * width + columns[:, None, :]).flatten(1)  # (B, H*W)
    at = at[:, None].expand(count, channels, height * width)
    return images.flatten(2).gather(2, at).view_as(images)


def ordered_batches(images: ImageSet, runtime: Runtime) -> Iterator[LabelledBatch]:
    """All images of a set once, in order, as they are."""
    assert images.labels is not None
    for indices in torch.arange(len(images)).split(_TEST_BATCH):
        x = to_float(images.fetch(indices).to(runtime.device))
        yield LabelledBatch(x.to(memory_format=torch.channels_last), images.labels[indices].to(runtime.device))


def _reflected(positions: Tensor, size: int) -> Tensor:
    """Positions beside 0..size-1 mirrored back into it; the border itself is not repeated."""
    positions = positions.abs()
    return torch.where(positions >= size, 2 * (size - 1) - positions, positions)
