"""Decode a whole image source into memory, and compute its fingerprint."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gan.data.decode import to_pixels
from gan.data.source import Reader, Source, count_conversions
from gan.data.thread_map import process_images


@dataclass(frozen=True)
class Decoded:
    """Decoded images of one size, in order, without the unreadable ones.

    `pixels` is uint8 (N, C, R, R), `labels` int64 (N,) or None; `bad` is (name, reason) of each unreadable image.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64] | None
    classes: tuple[str, ...]
    conversions: dict[str, int]
    bad: tuple[tuple[str, str], ...]
    fingerprint: str


def fingerprint(pixels: NDArray[np.uint8], labels: NDArray[np.int64] | None) -> str:
    """SHA-256 of shape, pixels and labels, in hex: independent of where the images are stored."""
    digest = begin_fingerprint(pixels.shape)
    digest.update(np.ascontiguousarray(pixels).data)
    return end_fingerprint(digest, labels)


def begin_fingerprint(shape: tuple[int, ...]) -> hashlib._Hash:
    """Start a digest with the shape; the caller adds the bytes of the pixels."""
    return hashlib.sha256(f"uint8 {shape}\n".encode())


def end_fingerprint(digest: hashlib._Hash, labels: NDArray[np.int64] | None) -> str:
    """Add the labels after the pixels, and return the digest in hex."""
    if labels is not None:
        digest.update(b"labels\n")
        digest.update(labels.astype("<i8").tobytes())
    return digest.hexdigest()


def decode_all(source: Source, resolution: int, channels: int) -> Decoded:
    """Decode every image of a source, with a progress bar; unreadable images are collected in `bad`."""
    listing = source.listing
    count = len(listing.names)
    pixels = np.empty((count, channels, resolution, resolution), dtype=np.uint8)

    def decode(read: Reader, index: int) -> tuple[str, ...]:
        pixels[index], conversions = to_pixels(read(index), resolution, channels)
        return conversions

    conversions, bad = process_images(source, "decoding", decode)
    labels = listing.labels
    if bad:
        readable = list(conversions)
        # Moved one by one: indexing by a list would need the memory twice.
        for position, index in enumerate(readable):
            if position != index:
                pixels[position] = pixels[index]
        pixels = pixels[: len(readable)]
        labels = None if labels is None else labels[readable]
    return Decoded(
        pixels=pixels,
        labels=labels,
        classes=listing.classes,
        conversions=count_conversions(conversions.values()),
        bad=tuple(bad),
        fingerprint=fingerprint(pixels, labels),
    )
