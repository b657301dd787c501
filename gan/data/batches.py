"""Batches of a run: a function of the seed and the number of the batch, so that a run can go on anywhere."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from gan.data.image_set import ImageSet
from gan.errors import UsageError
from gan.utils.random_streams import FLIPS, ORDER, random_stream

_EPOCHS = 4  # orders kept
_AHEAD = 2  # batches of a streamed set that are decoded, one after the other, before they are asked for


@dataclass(frozen=True, eq=False)
class Samples:
    """Which images a batch is made of: their numbers, int64 (B,), and which are mirrored, bool (B,) or None."""

    indices: Tensor
    flips: Tensor | None


@dataclass(frozen=True, eq=False)
class Batch:
    """Images, float32 (B, C, R, R) in [-1, 1], and their labels, int64 (B,), or None for an unlabelled set."""

    images: Tensor
    labels: Tensor | None


class Batches:
    """The batches of a run, numbered from 0.

    Sample number k = index * batch + j belongs to epoch k // N. Each epoch visits every image once, in an order drawn
    for it; a batch may end one epoch and begin the next. Whether a sample is mirrored is drawn from a stream of its
    own, so `flip` does not change the order.

    Args:
        images: the set.
        batch: images in a batch.
        seed: of the run.
        flip: mirror half of the samples from left to right.
        positions: which samples of each batch to give, int64 (B,) in 0 to batch - 1, where several processes share a
            batch; None: all.

    Raises:
        UsageError: the batch is larger than the set, or empty.
    """

    def __init__(
        self,
        images: ImageSet,
        batch: int,
        seed: int,
        *,
        flip: bool = False,
        positions: Tensor | None = None,
    ) -> None:
        if batch < 1:
            raise UsageError(f"a batch needs at least 1 image, not {batch}")
        if batch > len(images):
            raise UsageError(
                f"a batch of {batch} images is more than the {len(images)} that {images.name} has; "
                f"choose a batch of {len(images)} or fewer, or a larger set"
            )
        self.images = images
        self.batch = batch
        self.seed = seed
        self.flip = flip
        self.positions = positions
        self._epochs: dict[int, Samples] = {}
        self._ahead: dict[int, Future[Tensor]] = {}
        self._pool = ThreadPoolExecutor(1, "prefetch") if images.pixels is None else None

    def at(self, index: int) -> Batch:
        """Batch number `index`. Whatever was asked for before, the same number gives the same batch.

        To be called from one thread. A streamed set is read ahead in others, so that asking for one batch after the
        other does not wait.

        Raises:
            UserError: an image of a streamed set has become unreadable.
        """
        samples, pixels = self.samples(index), self.pixels(index)
        if samples.flips is not None:
            pixels = torch.where(samples.flips[:, None, None, None], pixels.flip(3), pixels)
        labels = None if self.images.labels is None else self.images.labels[samples.indices]
        return Batch(to_float(pixels), labels)

    def pixels(self, index: int) -> Tensor:
        """The images of batch number `index` before they are mirrored, uint8 (B, C, R, R); as `at` otherwise."""
        if self._pool is None:
            return self.images.fetch(self.samples(index).indices)
        return self._read_ahead(index, self._pool)

    def samples(self, index: int) -> Samples:
        """Which images batch number `index` is made of, for one who holds the pixels elsewhere."""
        if index < 0:
            raise ValueError(f"batches are numbered from 0, not {index}")
        count = len(self.images)
        epoch, start = divmod(index * self.batch, count)
        whole = self._epoch(epoch)
        parts = [_part(whole, slice(start, start + self.batch))]
        if start + self.batch > count:
            parts.append(_part(self._epoch(epoch + 1), slice(start + self.batch - count)))
        flips = [part.flips for part in parts if part.flips is not None]
        samples = Samples(torch.cat([part.indices for part in parts]), torch.cat(flips) if flips else None)
        return samples if self.positions is None else _part(samples, self.positions)

    def close(self) -> None:
        """Stop reading ahead. Batches can still be had, one at a time."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        self._pool = None
        self._ahead = {}

    def _epoch(self, epoch: int) -> Samples:
        """All samples of an epoch, in their order."""
        if epoch not in self._epochs:
            count = len(self.images)
            order = torch.randperm(count, generator=random_stream(self.seed, ORDER, epoch))
            flips = None
            if self.flip:
                flips = torch.rand(count, generator=random_stream(self.seed, FLIPS, epoch)) < 0.5
            # A batch spans two epochs at most. The oldest goes, so the current one and the next stay.
            if len(self._epochs) >= _EPOCHS:
                del self._epochs[next(iter(self._epochs))]
            self._epochs[epoch] = Samples(order, flips)
        return self._epochs[epoch]

    def _read_ahead(self, index: int, pool: ThreadPoolExecutor) -> Tensor:
        wanted = range(index, index + _AHEAD + 1)
        for stale in self._ahead.keys() - set(wanted):
            self._ahead.pop(stale).cancel()
        for number in wanted:
            if number not in self._ahead:
                self._ahead[number] = pool.submit(self.images.fetch, self.samples(number).indices)
        return self._ahead.pop(index).result()


def to_float(pixels: Tensor) -> Tensor:
    """uint8 values 0..255 as float32 in [-1, 1], by x / 127.5 - 1."""
    return pixels.to(torch.float32).div_(127.5).sub_(1)


def _part(samples: Samples, chosen: slice | Tensor) -> Samples:
    return Samples(samples.indices[chosen], None if samples.flips is None else samples.flips[chosen])
