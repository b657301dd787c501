"""What a source of images is, whichever form it has: named entries, labels, and a way to read one entry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import chain
from pathlib import PurePosixPath
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gan.errors import UserError
from gan.utils.progress import say

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff")
MAX_ENTRY = 512 * 2**20  # bytes of one encoded image; a photo of 100 megapixels stays below it, even uncompressed
_NAMED = 20  # bad images named in a message; the rest are counted

Content = bytes | NDArray[np.uint8]


class BadImage(Exception):
    """An entry that cannot be read or decoded; its text is a short reason."""


class Reader(Protocol):
    """Reads entry number `index`: an encoded file, or an array (H, W) or (H, W, 3) of uint8.

    With `limit` an encoded file may be cut off after that many bytes, which is enough for most headers.
    Raises BadImage. May be called from one thread only; every thread opens its own.
    """

    def __call__(self, index: int, limit: int | None = None) -> Content: ...


@dataclass(frozen=True)
class Listing:
    """The entries of a source, in the order in which images are numbered.

    `labels` is int64 (N,), or None for an unlabelled set; label k means `classes[k]`.
    """

    names: tuple[str, ...]
    labels: NDArray[np.int64] | None
    classes: tuple[str, ...]


class Source(Protocol):
    """A folder, a zip or an array of images."""

    @property
    def name(self) -> str:
        """What the user called it."""

    @property
    def kind(self) -> str:
        """`folder`, `zip`, `digits` or `torchvision`."""

    @property
    def key(self) -> bytes:
        """A digest that changes whenever an image or a label does. Cheaper than `listing` where it can be."""

    @property
    def listing(self) -> Listing:
        """The entries. Raises UserError where there are none, or the source is malformed."""

    def opened(self) -> AbstractContextManager[Reader]:
        """A reader for the calling thread."""


def normalized_name(name: str) -> str:
    """A relative name as it is compared: `/` between its parts, no `.` among them; archivers and scripts write both."""
    return "/".join(part for part in name.replace("\\", "/").split("/") if part not in ("", "."))


def is_image_name(name: str) -> bool:
    """Whether a relative name with `/` between its parts is that of an image, and not hidden or a leftover of macOS."""
    return name.lower().endswith(EXTENSIONS) and is_visible(name)


def is_visible(name: str) -> bool:
    """Whether no part of the name is a dot file's or `__MACOSX`."""
    return not any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def is_labels_name(name: str) -> bool:
    """Whether the name is that of a `dataset.json` that counts."""
    return PurePosixPath(name).name == "dataset.json" and is_visible(name)


def no_images_error(where: str) -> UserError:
    """The error for a source that holds none."""
    return UserError(f"{where}: no images found; looked for {' '.join(EXTENSIONS)} in it and its sub-folders")


def printable_name(name: str) -> str:
    """A file name made safe to print: no control characters, no undecodable bytes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in name)


def report_bad_images(bad: Sequence[tuple[str, str]], where: str, *, skip: bool) -> None:
    """Deal with the images that could not be read, given as pairs (name, reason).

    Raises:
        UserError: there are some and `skip` is false; they are named, the first 20 of them, in one message.
    """
    if not bad:
        return
    if skip:
        say(f"{where}: {len(bad):,} unreadable image{'s' * (len(bad) > 1)} skipped")
        return
    lines = [f"  {printable_name(name)}: {reason}" for name, reason in bad[:_NAMED]]
    if len(bad) > _NAMED:
        lines.append(f"  and {len(bad) - _NAMED:,} more")
    count = f"{len(bad):,} image{'s' * (len(bad) > 1)}"
    listed = "\n".join(lines)
    raise UserError(
        f"{where}: {count} cannot be read:\n{listed}\nrepair or remove them, or go on without them by --skip-bad-images"
    )


def count_conversions(kinds: Iterable[Iterable[str]]) -> dict[str, int]:
    """How many images each kind of conversion befell, most frequent first, ties by name."""
    return count_values(chain.from_iterable(kinds))


def count_values(values: Iterable[str]) -> dict[str, int]:
    """How often each value comes, most frequent first, ties by name."""
    return dict(sorted(Counter(values).items(), key=lambda item: (-item[1], item[0])))
