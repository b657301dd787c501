"""Image source that is one array in memory."""

import hashlib
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gan.data.source import Listing, Note, Reader


@dataclass(frozen=True)
class ArraySource:
    """Images in memory: uint8 (N, H, W) or (N, H, W, 3 or 4); a fourth channel is alpha."""

    name: str
    kind: str
    images: NDArray[np.uint8]
    listing: Listing

    @cached_property
    def key(self) -> bytes:
        """Digest of all pixels and labels."""
        digest = hashlib.sha256(f"{self.images.shape} {self.listing.classes}".encode())
        digest.update(np.ascontiguousarray(self.images).data)
        if self.listing.labels is not None:
            digest.update(self.listing.labels.astype("<i8").tobytes())
        return digest.digest()

    def content_digest(self) -> bytes:
        """The same digest."""
        return self.key

    def opened(self) -> AbstractContextManager[Reader]:
        """Open a reader of single images."""
        return nullcontext(lambda index, limit=None: self.images[index])


def array_listing(
    count: int,
    labels: NDArray[np.int64] | None,
    classes: Sequence[str] | None = None,
    *,
    split_folder: str | None = None,
    notes: Sequence[Note] = (),
) -> Listing:
    """The listing of `count` images without names; the classes are numbered if they have no names either."""
    names = tuple(f"image {index}" for index in range(count))
    if labels is None:
        return Listing(names, None, (), split_folder, notes=tuple(notes))
    known = tuple(classes) if classes else tuple(str(label) for label in range(int(labels.max()) + 1))
    return Listing(names, labels, known, split_folder, notes=tuple(notes))
