"""Extract features of an image stream: moments, content hash, optionally the features themselves"""

import hashlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gan.distributed import collectives, process_group
from gan.errors import UserError
from gan.metrics.extractor import Extractor
from gan.metrics.inception_score import InceptionScore
from gan.metrics.moments import FeatureMoments
from gan.utils.counted import counted
from gan.utils.progress import progress


@dataclass(frozen=True, eq=False)
class ImageStream:
    """A stream of images. `batches()` starts at the first image each time it is called.

    Batches are uint8 (B, 3, H, W), or (B, 1, H, W) if greyscale, on the CPU, of any size B. The first `count` images
    are used; there may be more, but not fewer.
    """

    name: str
    """Its name in messages."""
    count: int
    batches: Callable[[], Iterable[Tensor]] = field(repr=False)
    split: str | None = None
    """Split of the dataset."""
    protocol: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `Protocol` that say how the images were generated."""


@dataclass(frozen=True, eq=False)
class FeatureStatistics:
    """Statistics of the features of an image stream."""

    moments: FeatureMoments
    content: str
    """Hash of the pixels, independent of the images' order, hex."""
    resolution: str
    """Width x height."""
    features: NDArray[np.float32] | None
    """(N, D), memory-mapped from a temporary file; empty on ranks other than 0, None unless requested."""


def _hash_sum(images: Tensor) -> int:
    """Sum of the SHA-256 of images uint8 (N, 3, H, W), which does not depend on their order."""
    shape = ",".join(map(str, images.shape[1:])).encode()
    digests = (hashlib.sha256(shape + b":" + image.tobytes()).digest() for image in images.numpy())
    return sum(int.from_bytes(digest, "big") for digest in digests)


def _hash_text(hash_sum: int) -> str:
    return f"{hash_sum % (1 << 256):064x}"


def extract_features(
    images: ImageStream,
    extractor: Extractor,
    *,
    keep_features: bool = False,
    inception_score: InceptionScore | None = None,
    required_size: tuple[str | None, str] = (None, ""),
) -> FeatureStatistics:
    """Extract features of all images once, in the extractor's batch size, whatever the batch size of the stream.

    Several ranks share the batches. Rank 0 gathers the features in order, with the same result as a single process; on
    the other ranks the statistics are empty.

    Args:
        keep_features: write the features to a temporary file, 4 D bytes per image.
        inception_score: gets the logits.
        required_size: width x height that the images must have (None: any), and the name of the set that has it.

    Raises:
        UserError: images of different sizes, features that are not finite, or no space for them.
    """
    moments, hash_sum, resolution = FeatureMoments(extractor.dimension), 0, ""
    file: IO[bytes] | None = None
    if keep_features and process_group.is_rank0():
        file = tempfile.TemporaryFile(prefix="msn-gan-features-")
    with progress(f"{extractor.name} features of {images.name}", images.count) as advance:
        for batch, features, logits in _batch_features(rebatched(images, extractor.batch_size), extractor):
            resolution = f"{batch.shape[3]}x{batch.shape[2]}"
            _require_size(resolution, images.name, *required_size)
            if features is None or logits is None:
                continue
            _require_finite(features, logits, images.name, moments.count, extractor.name)
            moments.update(features.numpy())
            if inception_score is not None:
                inception_score.update(logits.numpy())
            if file is not None:
                _write_features(file, features)
            hash_sum += _hash_sum(batch)
            advance(len(batch))
    all_features: NDArray[np.float32] | None = np.empty((0, extractor.dimension), np.float32) if keep_features else None
    if file is not None:
        file.flush()
        all_features = np.memmap(file, dtype=np.float32, mode="c", shape=(images.count, extractor.dimension))
    return FeatureStatistics(moments, _hash_text(hash_sum), resolution, all_features)


def _batch_features(
    batches: Iterator[Tensor], extractor: Extractor
) -> Iterator[tuple[Tensor, Tensor | None, Tensor | None]]:
    """Each batch in order, with its features and logits; these are None on ranks other than 0."""
    empty = (None, None)
    while together := list(islice(batches, process_group.world_size())):  # a batch for each rank
        own = together[process_group.rank()] if process_group.rank() < len(together) else None
        gathered = collectives.gather_to_rank0(empty if own is None else extractor.features(own))
        for batch, (features, logits) in zip(together, gathered or [empty] * len(together), strict=False):
            yield batch, features, logits


def content_hash(images: ImageStream) -> str:
    """The content hash of `extract_features`, without a network."""
    hash_sum = 0
    with progress(f"reading {images.name}", images.count) as advance:
        for batch in rebatched(images, 256):
            hash_sum += _hash_sum(batch)
            advance(len(batch))
    return _hash_text(hash_sum)


def keeping_images(images: ImageStream, indices: Tensor, kept: list[Tensor]) -> ImageStream:
    """The same stream, which appends the images with these ascending indices to `kept` as it is read."""

    def batches() -> Iterator[Tensor]:
        start = 0
        for batch in images.batches():
            own = indices[(indices >= start) & (indices < start + len(batch))] - start
            if len(own):
                kept.append(batch[own])
            start += len(batch)
            yield batch

    return replace(images, batches=batches)


def rebatched(images: ImageStream, size: int) -> Iterator[Tensor]:
    """The first `count` images as uint8 RGB batches (B, 3, H, W) of one size; the last may be smaller.

    Raises:
        UserError: the images have different sizes, or there are fewer than `count`.
    """
    waiting: list[Tensor] = []
    pending, taken, shape = 0, 0, None
    for batch in images.batches():
        if batch.dtype != torch.uint8 or batch.dim() != 4 or batch.shape[1] not in (1, 3):
            form = f"{batch.dtype} {tuple(batch.shape)}"
            raise ValueError(f"{images.name}: batches uint8 (N, 3 or 1, H, W) expected, got {form}")
        shape = shape or batch.shape[2:]
        if batch.shape[2:] != shape:
            raise UserError(
                f"{images.name}: images of different sizes: {shape[1]}x{shape[0]} and, from image {taken + 1:,} on, "
                f"{batch.shape[3]}x{batch.shape[2]}; bring them to one size with `msn-gan data pack`"
            )
        batch = batch[: images.count - taken].expand(-1, 3, -1, -1)  # greyscale to RGB, as when a PNG is read as RGB
        taken += len(batch)
        waiting.append(batch)
        pending += len(batch)
        if pending >= size or taken == images.count:
            joined = torch.cat(waiting)
            ready = pending if taken == images.count else pending - pending % size
            yield from joined[:ready].split(size)
            waiting, pending = [joined[ready:]], pending - ready
        if taken == images.count:
            return
    raise UserError(f"{images.name}: there are only {counted(taken, 'image')}, {images.count:,} are to be scored")


def _require_size(resolution: str, name: str, required: str | None, other: str) -> None:
    if required not in (None, resolution):
        raise UserError(
            f"{name} has images of {resolution} pixels, {other} of {required}: enlarging would blur images and "
            "change the scores; bring them to one size with `msn-gan data pack`"
        )


def _require_finite(features: Tensor, logits: Tensor, name: str, before: int, network: str) -> None:
    bad = ~(torch.isfinite(features).all(dim=1) & torch.isfinite(logits).all(dim=1))
    if bad.any():
        first = before + int(bad.nonzero()[0]) + 1
        raise UserError(
            f"{name}: the {network} extractor outputs NaN or infinity for image {first:,}; its weights file is "
            "damaged, or its precision is too low: try --precision fp32"
        )


def _write_features(file: IO[bytes], features: Tensor) -> None:
    try:
        file.write(features.numpy().astype(np.float32).tobytes())
    except OSError as error:
        raise UserError(
            f"features cannot be written to {tempfile.gettempdir()} ({error.strerror}); set TMPDIR to a folder with "
            "space, or leave out kid, pr and copies"
        ) from error
