"""Training batches as a function of the seed and the batch number, so that a run can resume at any step."""

from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass

import torch
from torch import Tensor

from gan.data.image_set import ImageSet
from gan.errors import UsageError
from gan.utils.counted import counted
from gan.utils.random_streams import FLIPS, ORDER, random_stream

_CACHED_EPOCHS = 4
_PREFETCH = 2  # batches of a streamed set that are decoded in advance


@dataclass(frozen=True, eq=False)
class Samples:
    """The samples of a batch: image numbers, int64 (B,), and which are mirrored, bool (B,) or None."""

    indices: Tensor
    flips: Tensor | None


@dataclass(frozen=True, eq=False)
class Batch:
    """Images, float32 (B, C, R, R) in [-1, 1], and labels, int64 (B,), or None for an unlabelled set."""

    images: Tensor
    labels: Tensor | None


class Batches:
    """The batches of a run, numbered from 0.

    Sample number k = index * batch + j belongs to epoch k // N. Each epoch visits every image once, in its own random
    order; a batch may span two epochs. Mirroring has its own random stream, so `flip` does not change the order.

    Args:
        images: the set.
        batch: images per batch.
        seed: seed of the run.
        flip: mirror half of the samples from left to right.
        positions: the samples of each batch to return, int64 (B,) in 0 to batch - 1, if several processes share a
            batch; None: all.

    Raises:
        UsageError: the batch is larger than the set, or empty.
    """

    def __init__(
        self, images: ImageSet, batch: int, seed: int, *, flip: bool = False, positions: Tensor | None = None
    ) -> None:
        if batch < 1:
            raise UsageError(f"a batch needs at least 1 image, not {batch}")
        if batch > len(images):
            raise UsageError(
                f"a batch of {counted(batch, 'image')} is more than the {len(images):,} of {images.name}; "
                f"choose a batch of {len(images):,} or fewer, or a larger set"
            )
        self.images = images
        self.batch = batch
        self.seed = seed
        self.flip = flip
        self.positions = positions
        self._epochs: dict[int, Samples] = {}
        self._pending: dict[int, Future[Tensor]] = {}
        self._pool = ThreadPoolExecutor(1, "prefetch") if images.pixels is None else None

    def at(self, index: int) -> Batch:
        """Return batch number `index`, which does not depend on earlier calls.

        Call it from one thread. Batches of a streamed set are prefetched in others, so that consecutive batches do not
        wait. Raises UserError if an image of a streamed set has become unreadable.
        """
        samples, pixels = self.samples(index), self.pixels(index)
        if samples.flips is not None:
            pixels = torch.where(samples.flips[:, None, None, None], pixels.flip(3), pixels)
        labels = None if self.images.labels is None else self.images.labels[samples.indices]
        return Batch(to_float(pixels), labels)

    def pixels(self, index: int) -> Tensor:
        """Return the images of batch number `index` before mirroring, uint8 (B, C, R, R); otherwise as `at`."""
        if self._pool is None:
            return self.images.fetch(self.samples(index).indices)
        return self._prefetch(index, self._pool)

    def samples(self, index: int) -> Samples:
        """Return the samples of batch number `index`, for callers that keep the pixels themselves."""
        if index < 0:
            raise ValueError(f"batches are numbered from 0, not {index}")
        count = len(self.images)
        epoch, start = divmod(index * self.batch, count)
        parts = [_part(self._epoch(epoch), slice(start, start + self.batch))]
        if start + self.batch > count:
            parts.append(_part(self._epoch(epoch + 1), slice(start + self.batch - count)))
        flips = [part.flips for part in parts if part.flips is not None]
        samples = Samples(torch.cat([part.indices for part in parts]), torch.cat(flips) if flips else None)
        return samples if self.positions is None else _part(samples, self.positions)

    def close(self) -> None:
        """Stop prefetching. Batches can still be read, one at a time."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        self._pool = None
        self._pending = {}

    def _epoch(self, epoch: int) -> Samples:
        """Return all samples of an epoch, in order."""
        if epoch not in self._epochs:
            count = len(self.images)
            order = torch.randperm(count, generator=random_stream(self.seed, ORDER, epoch))
            flips = None
            if self.flip:
                flips = torch.rand(count, generator=random_stream(self.seed, FLIPS, epoch)) < 0.5
            # A batch spans at most two epochs: dropping the oldest keeps the current one and the next.
            if len(self._epochs) >= _CACHED_EPOCHS:
                del self._epochs[next(iter(self._epochs))]
            self._epochs[epoch] = Samples(order, flips)
        return self._epochs[epoch]

    def _prefetch(self, index: int, pool: ThreadPoolExecutor) -> Tensor:
        wanted = range(index, index + _PREFETCH + 1)
        for stale in self._pending.keys() - set(wanted):
            self._pending.pop(stale).cancel()
        for number in wanted:
            if number not in self._pending:
                self._pending[number] = pool.submit(copy_context().run, self.images.fetch, self.samples(number).indices)
        return self._pending.pop(index).result()


def to_float(pixels: Tensor) -> Tensor:
    """Convert uint8 values 0..255 to float32 in [-1, 1]: x / 127.5 - 1."""
    return pixels.to(torch.float32).div_(127.5).sub_(1)


def _part(samples: Samples, positions: slice | Tensor) -> Samples:
    return Samples(samples.indices[positions], None if samples.flips is None else samples.flips[positions])
