"""Images decoded from the disk when they are asked for: a set larger than the memory."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from contextlib import closing, suppress

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gan.data.decode import expected_conversions, to_pixels
from gan.data.source import BadImage, Reader, Source, count_conversions, printable_name
from gan.data.thread_map import thread_map
from gan.errors import UserError
from gan.utils.progress import progress, say

_HEADER = 2**16  # bytes in which most images tell their size


class Streamed:
    """Images decoded from the disk, each time they are asked for.

    Before, only headers were read. An image that turns out damaged behind its header stops the run, unless
    `replace_bad`: then the next whole image stands in for it, always the same one, and that is told once. In a labelled
    set it is the next of the same class, for the label stays; a class without a whole image stops the run.
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
        self._told: set[int] = set()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._numbers)

    def fetch(self, indices: Tensor) -> Tensor:
        """Decode some images."""
        wanted: list[int] = indices.tolist()
        pixels = np.empty((len(wanted), *self._shape), dtype=np.uint8)

        def decode(run: range) -> None:
            with self._source.opened() as read:
                for place in run:
                    pixels[place] = self._decode(read, wanted[place])

        with closing(thread_map(decode, len(wanted), 4)) as results:
            for _ in results:
                pass
        return torch.from_numpy(pixels)

    def _decode(self, read: Reader, index: int) -> NDArray[np.uint8]:
        try:
            return self._pixels(read, index)
        except BadImage as error:
            name = printable_name(self._source.listing.names[self._numbers[index]])
            what = f"{self._source.name}: {name} cannot be read: {error}"
            if not self._replace_bad:
                raise UserError(f"{what}; repair or remove it, or use --skip-bad-images") from error
        for other in self._after(index):
            with suppress(BadImage):
                pixels = self._pixels(read, other)
                with self._lock:
                    if index not in self._told:
                        self._told.add(index)
                        say(f"{what}; the next image{self._of_class(index)} stands in for it")
                return pixels
        raise UserError(f"{what}, nor can any other image{self._of_class(index)}; repair or remove them")

    def _after(self, index: int) -> list[int]:
        """Those that may stand in for an image, the next one first."""
        others = (index + np.arange(1, len(self))) % len(self)
        if self._labels is not None:
            others = others[self._labels[others] == self._labels[index]]
        found: list[int] = others.tolist()
        return found

    def _of_class(self, index: int) -> str:
        if self._labels is None:
            return ""
        return f" of the class {printable_name(self._source.listing.classes[self._labels[index]])}"

    def _pixels(self, read: Reader, index: int) -> NDArray[np.uint8]:
        return to_pixels(read(self._numbers[index]), self._shape[1], self._shape[0])[0]


def streamed_fingerprint(source: Source, numbers: Sequence[int], resolution: int, channels: int) -> str:
    """SHA-256 in hex of what identifies the images without decoding them."""
    digest = hashlib.sha256(f"streamed {resolution} {channels} ".encode() + source.key)
    digest.update(np.asarray(numbers, dtype="<i8").tobytes())
    return digest.hexdigest()


def scan(source: Source, resolution: int, channels: int) -> tuple[list[int], dict[str, int], list[tuple[str, str]]]:
    """Read the headers of all images of a source, in threads.

    Returns:
        the numbers of those that seem readable, their conversions, and (name, reason) of the others.
    """
    names = source.listing.names
    kinds: dict[int, tuple[str, ...]] = {}
    bad: dict[int, str] = {}

    def check(run: range) -> int:
        with source.opened() as read:
            for index in run:
                try:
                    try:
                        kinds[index] = expected_conversions(read(index, _HEADER), resolution, channels)
                    except BadImage:  # its header may be longer
                        kinds[index] = expected_conversions(read(index), resolution, channels)
                except BadImage as error:
                    bad[index] = str(error)
        return len(run)

    with progress("checking headers", len(names)) as advance, closing(thread_map(check, len(names))) as done:
        for count in done:
            advance(count)
    return sorted(kinds), count_conversions(kinds.values()), [(names[index], bad[index]) for index in sorted(bad)]
