"""Streamed images: decoded from disk at each access, for sets larger than memory."""

import hashlib
import threading
from collections.abc import Sequence
from contextlib import closing, suppress

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gan.data.decode import expected_conversions, to_pixels
from gan.data.source import BadImage, Reader, Source, count_conversions, printable_name, read_header
from gan.data.thread_map import process_images, thread_map
from gan.errors import UserError
from gan.utils.progress import warn


class Streamed:
    """A store that decodes images from disk at each access.

    `scan` has read only the headers. An image that proves damaged behind its header stops the run, or, with
    `replace_bad`, is replaced: always by the next readable image, which is reported once. In a labelled set that is the
    next image of the same class, since the label stays; a class without a readable image stops the run.
    """

    def __init__(
        self, source: Source, numbers: Sequence[int], resolution: int, channels: int, *, replace_bad: bool
    ) -> None:
        self._source = source
        self._numbers = tuple(numbers)
        labels = source.listing.labels
        self._labels = None if labels is None else labels[list(numbers)]
        self._shape = (channels, resolution, resolution)
        self._replace_bad = replace_bad
        self._reported: set[int] = set()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._numbers)

    def fetch(self, indices: Tensor) -> Tensor:
        """Decode the images with these numbers, int64 (B,): uint8 (B, C, R, R)."""
        wanted: list[int] = indices.tolist()
        pixels = np.empty((len(wanted), *self._shape), dtype=np.uint8)

        def decode(run: range) -> None:
            with self._source.opened() as read:
                for position in run:
                    pixels[position] = self._decode(read, wanted[position])

        with closing(thread_map(decode, len(wanted), 4)) as results:
            for _ in results:
                pass
        return torch.from_numpy(pixels)

    def _decode(self, read: Reader, index: int) -> NDArray[np.uint8]:
        try:
            return self._pixels(read, index)
        except BadImage as error:
            name = printable_name(self._source.listing.names[self._numbers[index]])
            problem = f"{self._source.name}: {name} cannot be read: {error}"
            if not self._replace_bad:
                raise UserError(f"{problem}; repair or remove it, or use --skip-bad-images") from error
        for other in self._replacements(index):
            with suppress(BadImage):
                pixels = self._pixels(read, other)
                with self._lock:
                    if index not in self._reported:
                        self._reported.add(index)
                        warn(f"{problem}; replaced by the next image{self._of_class(index)}")
                return pixels
        raise UserError(f"{problem}, nor can any other image{self._of_class(index)}; repair or remove them")

    def _replacements(self, index: int) -> list[int]:
        """Numbers of the images that may replace an image, the next one first."""
        others = (index + np.arange(1, len(self))) % len(self)
        if self._labels is not None:
            others = others[self._labels[others] == self._labels[index]]
        numbers: list[int] = others.tolist()
        return numbers

    def _of_class(self, index: int) -> str:
        if self._labels is None:
            return ""
        return f" of the class {printable_name(self._source.listing.classes[self._labels[index]])}"

    def _pixels(self, read: Reader, index: int) -> NDArray[np.uint8]:
        return to_pixels(read(self._numbers[index]), self._shape[1], self._shape[0])[0]


def streamed_fingerprint(source: Source, numbers: Sequence[int], resolution: int, channels: int) -> str:
    """SHA-256 in hex of the source's key and the image numbers; nothing is decoded."""
    digest = hashlib.sha256(f"streamed {resolution} {channels} ".encode() + source.key)
    digest.update(np.asarray(numbers, dtype="<i8").tobytes())
    return digest.hexdigest()


def scan(source: Source, resolution: int, channels: int) -> tuple[list[int], dict[str, int], list[tuple[str, str]]]:
    """Read the headers of all images of a source, in threads.

    Returns:
        the numbers of the images with a readable header, their conversions, and (name, reason) of the others.
    """

    def check(read: Reader, index: int) -> tuple[str, ...]:
        return read_header(read, index, lambda content: expected_conversions(content, resolution, channels))

    conversions, bad = process_images(source, "checking headers", check)
    return list(conversions), count_conversions(conversions.values()), bad
