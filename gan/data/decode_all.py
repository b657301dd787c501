"""A whole source decoded into memory, and the fingerprint of what came out."""

from __future__ import annotations

import hashlib
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gan.data.decode import to_pixels
from gan.data.source import BadImage, Source, count_conversions
from gan.data.thread_map import thread_map
from gan.utils.progress import progress


@dataclass(frozen=True)
class Decoded:
    """Images of one size, in order, without those that could not be read.

    `pixels` is uint8 (N, C, R, R), `labels` int64 (N,) or None; `bad` holds (name, reason) of what is missing.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64] | None
    classes: tuple[str, ...]
    conversions: dict[str, int]
    bad: tuple[tuple[str, str], ...]
    fingerprint: str


def fingerprint(pixels: NDArray[np.uint8], labels: NDArray[np.int64] | None) -> str:
    """SHA-256 of shape, pixels and labels, in hex: the same wherever the images came from."""
    digest = begin_fingerprint(pixels.shape)
    digest.update(np.ascontiguousarray(pixels).data)
    return end_fingerprint(digest, labels)


def begin_fingerprint(shape: tuple[int, ...]) -> hashlib._Hash:
    """The digest to which the pixels are to be added, bit by bit."""
    return hashlib.sha256(f"uint8 {shape}\n".encode())


def end_fingerprint(digest: hashlib._Hash, labels: NDArray[np.int64] | None) -> str:
    """Add the labels after the pixels, and tell the result."""
    if labels is not None:
        digest.update(b"labels\n")
        digest.update(labels.astype("<i8").tobytes())
    return digest.hexdigest()


def decode_all(source: Source, resolution: int, channels: int) -> Decoded:
    """Decode every image of a source, with a progress bar.

    Unreadable images do not stop it; they are gathered in `bad`.
    """
    listing = source.listing
    count = len(listing.names)
    pixels = np.empty((count, channels, resolution, resolution), dtype=np.uint8)
    kinds: list[tuple[str, ...]] = [()] * count
    bad: dict[int, str] = {}

    def decode(run: range) -> int:
        with source.opened() as read:
            for index in run:
                try:
                    pixels[index], kinds[index] = to_pixels(read(index), resolution, channels)
                except BadImage as error:
                    bad[index] = str(error)
        return len(run)

    with progress("decoding", count) as advance, closing(thread_map(decode, count)) as results:
        for done in results:
            advance(done)

    labels = listing.labels
    if bad:
        kept = [index for index in range(count) if index not in bad]
        # Moved down one by one: indexing by a list would need the memory twice.
        for place, index in enumerate(kept):
            if place != index:
                pixels[place] = pixels[index]
        pixels = pixels[: len(kept)]
        labels = None if labels is None else labels[kept]
    return Decoded(
        pixels=pixels,
        labels=labels,
        classes=listing.classes,
        conversions=count_conversions(kinds),
        bad=tuple((listing.names[index], bad[index]) for index in sorted(bad)),
        fingerprint=fingerprint(pixels, labels),
    )
