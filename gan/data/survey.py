"""Sizes and colours of an image set, read from the headers of a part of it."""

from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gan.data.decode import inspect_header
from gan.data.source import BadImage, Reader, Source, read_header
from gan.data.thread_map import thread_map

SURVEYED = 1000  # images, evenly spaced, whose headers are read; their mean and median are close to those of the set


@dataclass(frozen=True)
class Survey:
    """Sizes and colours of a sample of a set's images. All arrays have one entry for each sampled image."""

    total: int
    """Images of the set."""
    widths: NDArray[np.int64]
    heights: NDArray[np.int64]
    grey: NDArray[np.bool_]
    """True for an image without colour channels."""

    @property
    def count(self) -> int:
        """Images whose headers were read."""
        return len(self.widths)

    @property
    def short_sides(self) -> NDArray[np.int64]:
        """The shorter side of each image, pixels."""
        return np.minimum(self.widths, self.heights)

    @property
    def cropped(self) -> float:
        """Share of a picture that cropping to the central square leaves out, on average."""
        return float(np.mean(1 - self.short_sides / np.maximum(self.widths, self.heights)))


def survey_images(source: Source) -> Survey:
    """Read the headers of at most SURVEYED images; unreadable ones are left out."""
    total = len(source.listing.names)
    indices = np.unique(np.linspace(0, total - 1, min(total, SURVEYED)).astype(np.int64))

    def read_part(part: range) -> list[tuple[int, int, bool]]:
        with source.opened() as read:
            return [found for position in part if (found := _header(read, int(indices[position])))]

    with closing(thread_map(read_part, len(indices))) as parts:
        found = [image for part in parts for image in part]
    rows = np.array(found, dtype=np.int64).reshape(-1, 3)
    return Survey(total, rows[:, 0], rows[:, 1], rows[:, 2].astype(np.bool_))


def _header(read: Reader, index: int) -> tuple[int, int, bool] | None:
    """Width, height and whether the image is grey; None if it cannot be read."""
    try:
        info = read_header(read, index, inspect_header)
    except BadImage:
        return None
    return *info.size, info.is_grey
