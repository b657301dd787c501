"""A pass over images: what the network sees in them, counted, hashed and, if asked, kept."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import IO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gan.distributed import collectives, process_group
from gan.errors import UserError
from gan.metrics.extractor import Extractor
from gan.metrics.inception_score import InceptionScore
from gan.metrics.moments import FeatureMoments
from gan.utils.progress import progress


@dataclass(frozen=True, eq=False)
class ImageStream:
    """Images to be looked at. `batches()` starts at the first image each time it is called.

    The first `count` images are used; the batches, uint8 (B, 3, H, W), or (B, 1, H, W) for grey ones, on the CPU, may
    be of any number and go on beyond that, but must not end before.
    """

    name: str
    """What messages call it."""
    count: int
    batches: Callable[[], Iterable[Tensor]] = field(repr=False)
    split: str | None = None
    """Which part of a data set it is."""


@dataclass(frozen=True, eq=False)
class FeatureStatistics:
    """What a pass found."""

    moments: FeatureMoments
    content: str
    """Hash of the pixels, whatever the images' order, hex."""
    resolution: str
    """Width x height."""
    features: NDArray[np.float32] | None
    """(N, D), memory-mapped from a file that is gone when it is let go; none on ranks other than 0, and None unless
    asked for."""


class ContentHash:
    """A hash of a set of images that does not depend on their order: the sum of the images' SHA-256."""

    def __init__(self) -> None:
        self._sum = 0

    def update(self, images: Tensor) -> None:
        """Take in images uint8 (N, 3, H, W)."""
        for image in images.numpy():
            shape = ",".join(map(str, image.shape)).encode()
            self._sum += int.from_bytes(hashlib.sha256(shape + b":" + image.tobytes()).digest(), "big")

    def result(self) -> str:
        """64 hex digits."""
        return f"{self._sum % (1 << 256):064x}"


def extract_features(
    images: ImageStream,
    extractor: Extractor,
    *,
    keep_features: bool = False,
    inception_score: InceptionScore | None = None,
    like: tuple[str | None, str] = (None, ""),
) -> FeatureStatistics:
    """Show all images to a network once, in batches of its own size, so that the caller's size changes nothing.

    Several ranks share the batches out: each has its own seen, and rank 0 takes in what all have seen, in order, as if
    it had done it alone. On the other ranks nothing is kept and `Seen` is empty.

    Args:
        keep_features: write the features to a temporary file, 4 D bytes an image.
        inception_score: is given the logits.
        like: width x height that the images must have, and of which set; None for any.

    Raises:
        UserError: fewer than two images, images of unlike sizes, features that are not finite, or no room for them.
    """
    require_two_images(images)
    moments, content, resolution = FeatureMoments(extractor.dimension), ContentHash(), ""
    file: IO[bytes] | None = None
    if keep_features and process_group.is_rank0():
        file = tempfile.TemporaryFile(prefix="msn-gan-features-")
    with progress(f"{extractor.name} features of {images.name}", images.count) as advance:
        for batch, features, logits in _looked_at(rebatched(images, extractor.batch_size), extractor):
            resolution = f"{batch.shape[3]}x{batch.shape[2]}"
            _require_like(resolution, images.name, *like)
            if features is None or logits is None:
                continue
            _require_finite(features, logits, images.name, moments.count, extractor.name)
            moments.update(features.numpy())
            if inception_score is not None:
                inception_score.update(logits.numpy())
            if file is not None:
                _write(file, features)
            content.update(batch)
            advance(len(batch))
    kept: NDArray[np.float32] | None = np.empty((0, extractor.dimension), np.float32) if keep_features else None
    if file is not None:
        file.flush()
        kept = np.memmap(file, dtype=np.float32, mode="r", shape=(images.count, extractor.dimension))
    return FeatureStatistics(moments, content.result(), resolution, kept)


def _looked_at(
    batches: Iterator[Tensor], extractor: Extractor
) -> Iterator[tuple[Tensor, Tensor | None, Tensor | None]]:
    """Each batch in order, with its features and logits; without them on ranks other than 0."""
    nothing = (None, None)
    while together := list(islice(batches, process_group.world_size())):  # a batch for each rank
        mine = together[process_group.rank()] if process_group.rank() < len(together) else None
        seen = collectives.gather_to_rank0(nothing if mine is None else extractor.features(mine))
        for batch, (features, logits) in zip(together, seen or [nothing] * len(together), strict=False):
            yield batch, features, logits


def content_hash(images: ImageStream) -> str:
    """The hash that `look` gives, without a network: as fast as the images can be read."""
    content = ContentHash()
    with progress(f"reading {images.name}", images.count) as advance:
        for batch in rebatched(images, 256):
            content.update(batch)
            advance(len(batch))
    return content.result()


def keeping_images(images: ImageStream, numbers: Tensor, kept: list[Tensor]) -> ImageStream:
    """The same images; those with these numbers, which rise, are put into `kept` when they come by."""

    def batches() -> Iterator[Tensor]:
        start = 0
        for batch in images.batches():
            here = numbers[(numbers >= start) & (numbers < start + len(batch))] - start
            if len(here):
                kept.append(batch[here])
            start += len(batch)
            yield batch

    return replace(images, batches=batches)


def require_two_images(images: ImageStream) -> None:
    """Raise a UserError unless there are two images: one has no spread."""
    if images.count < 2:
        raise UserError(f"{images.name}: {images.count} images cannot be scored; at least 2 are needed")


def rebatched(images: ImageStream, size: int) -> Iterator[Tensor]:
    """The first `count` images as uint8 RGB batches (B, 3, H, W) of one size, but for the last, which may be smaller.

    Raises:
        UserError: the images are of unlike sizes, or end before `count`.
    """
    waiting: list[Tensor] = []
    held, taken, shape = 0, 0, None
    for batch in images.batches():
        _require_images(batch, images.name)
        shape = shape or batch.shape[2:]
        if batch.shape[2:] != shape:
            raise UserError(
                f"{images.name}: images of different sizes, {shape[1]}x{shape[0]} and, from image {taken + 1:,} on, "
                f"{batch.shape[3]}x{batch.shape[2]}; bring them to one size with `msn-gan data pack`"
            )
        batch = batch[: images.count - taken].expand(-1, 3, -1, -1)  # a grey PNG is read as RGB the same way
        taken += len(batch)
        waiting.append(batch)
        held += len(batch)
        if held >= size or taken == images.count:
            joined = torch.cat(waiting)
            whole = held if taken == images.count else held - held % size
            yield from joined[:whole].split(size)
            waiting, held = [joined[whole:]], held - whole
        if taken == images.count:
            return
    raise UserError(f"{images.name}: {images.count:,} images are to be scored, but there are {taken:,} only")


def _require_images(batch: Tensor, name: str) -> None:
    if batch.dtype != torch.uint8 or batch.dim() != 4 or batch.shape[1] not in (1, 3):
        raise ValueError(f"{name}: batches uint8 (N, 3 or 1, H, W) expected, got {batch.dtype} {tuple(batch.shape)}")


def _require_like(resolution: str, name: str, wanted: str | None, other: str) -> None:
    if wanted not in (None, resolution):
        raise UserError(
            f"{name} is of {resolution} pixels, {other} of {wanted}: the blur of enlarging would be scored; bring them "
            "to one size with `msn-gan data pack`"
        )


def _require_finite(features: Tensor, logits: Tensor, name: str, before: int, network: str) -> None:
    bad = ~(torch.isfinite(features).all(dim=1) & torch.isfinite(logits).all(dim=1))
    if bad.any():
        first = before + int(bad.nonzero()[0]) + 1
        raise UserError(
            f"{name}: the {network} network gives NaN or infinity for image {first:,}; its weights file is damaged, or "
            "its precision too low: try --precision fp32"
        )


def _write(file: IO[bytes], features: Tensor) -> None:
    try:
        file.write(features.numpy().astype(np.float32).tobytes())
    except OSError as error:
        raise UserError(
            f"features cannot be kept in {tempfile.gettempdir()} ({error.strerror}); set TMPDIR to a folder with room, "
            "or leave out kid and pr"
        ) from error
