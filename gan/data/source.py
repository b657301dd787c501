"""The interface of an image source (folder, zip or array): named entries, labels, and a reader of single entries."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import PurePosixPath
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from gan.errors import UserError
from gan.utils.counted import counted

EXTENSIONS = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".webp", ".gif", ".tif", ".tiff", ".avif", ".apng"),
    *(".jp2", ".j2k", ".jpx", ".jpf", ".j2c", ".jpc", ".ppm", ".pgm", ".pbm", ".pnm"),
)
MAX_ENTRY = 512 * 2**20  # bytes of one encoded image; a photo of 100 megapixels stays below it, even uncompressed
HEADER_BYTES = 2**16  # within which most images state their size
_MAX_LISTED = 20  # bad images named in a message; the rest are only counted

Content = bytes | NDArray[np.uint8]
Header = TypeVar("Header")


class BadImage(Exception):
    """Raised for an entry that cannot be read or decoded; its text is a short reason."""


@dataclass(frozen=True)
class Note:
    """A sentence about what was left out, assumed or merged when a set was read.

    `warning` is False if it is what the user asked for, such as the other split that is not used.
    """

    text: str
    warning: bool = True


class Reader(Protocol):
    """Read entry number `index`: an encoded file, or an array (H, W) or (H, W, 3) of uint8.

    With `limit`, an encoded file may be truncated to that many bytes, which is enough for most headers.
    Raises BadImage. Not thread-safe: each thread opens its own reader.
    """

    def __call__(self, index: int, limit: int | None = None) -> Content: ...


@dataclass(frozen=True)
class Listing:
    """The entries of a source, in the order of the image numbers.

    `labels` is int64 (N,), or None for an unlabelled set; label k means `classes[k]`.
    """

    names: tuple[str, ...]
    labels: NDArray[np.int64] | None
    classes: tuple[str, ...]
    split_folder: str | None = None
    """The folder that was selected as the split, if the sub-folders are splits."""
    ignored: dict[str, int] = field(default_factory=dict)
    """Number of files that are not images, by ending, `no ending` or `hidden`."""
    notes: tuple[Note, ...] = ()
    """Notes on the split, the class folders and the labels, and on files of them that are not used."""


class Source(Protocol):
    """A source of images: a folder, a zip or an array."""

    @property
    def name(self) -> str:
        """The name or path that the user gave."""

    @property
    def kind(self) -> str:
        """`folder`, `zip`, `npz`, `digits` or `torchvision`."""

    @property
    def key(self) -> bytes:
        """A digest of names, sizes and times or CRCs, which identifies the images of a streamed set without reading."""

    def content_digest(self) -> bytes:
        """A digest of the bytes of all images, which are read for it."""

    @property
    def listing(self) -> Listing:
        """The entries. Raises UserError if there are none, or the source is malformed."""

    def opened(self) -> AbstractContextManager[Reader]:
        """Open a reader for the calling thread."""


def read_header(read: Reader, index: int, inspect: Callable[[Content], Header]) -> Header:
    """Inspect the start of an entry, or all of it if its header is longer; raises the BadImage of `inspect`."""
    with suppress(BadImage):
        return inspect(read(index, HEADER_BYTES))
    return inspect(read(index))


def content_key(source: Source) -> bytes:
    """A digest of everything that decoding depends on: the bytes of the images, their names, labels and classes.

    Names, sizes and times are not enough: files may be rewritten in place.
    """
    listing = source.listing
    digest = hashlib.sha256(repr((listing.names, listing.classes)).encode("utf-8", "surrogateescape"))
    digest.update(b"" if listing.labels is None else listing.labels.astype("<i8").tobytes())
    digest.update(source.content_digest())
    return digest.digest()


def normalized_name(name: str) -> str:
    """Normalize a relative name with `/` as separator for comparison: drop the `.` parts that some tools write."""
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def is_image_name(name: str) -> bool:
    """True if a relative name, with `/` as separator, is a visible image file."""
    return name.lower().endswith(EXTENSIONS) and is_visible(name)


def count_ignored(names: Iterable[str]) -> dict[str, int]:
    """Count files that are not images by ending, as `Listing.ignored` has them."""
    return count_values(
        (PurePosixPath(name).suffix.lower() or "no ending") if is_visible(name) else "hidden" for name in names
    )


def is_visible(name: str) -> bool:
    """True if no part of the name starts with a dot or is `__MACOSX`."""
    return not any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def is_labels_name(name: str) -> bool:
    """True if the name is that of a visible `dataset.json`."""
    return PurePosixPath(name).name == "dataset.json" and is_visible(name)


def no_images_error(where: str) -> UserError:
    """Return the error for a source without images."""
    return UserError(f"{where}: no images found in it or its sub-folders; looked for {' '.join(EXTENSIONS)}")


def printable_name(name: str) -> str:
    """Escape control characters and undecodable bytes of a file name, so that it is safe to print."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in name)


def list_names(names: Sequence[str], limit: int) -> str:
    """Join the first names for a message, and say how many more there are."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(map(printable_name, names[:limit])) + more


def skipped_or_error(bad: Sequence[tuple[str, str]], where: str, *, skip: bool) -> str | None:
    """Return a sentence on the number of bad images, pairs of (name, reason), or None if there are none.

    Raises:
        UserError: there are some, and `skip` is False; it names 20 of them.
    """
    if not bad:
        return None
    if skip:
        return f"{counted(len(bad), 'unreadable image')} skipped"
    lines = [f"  {printable_name(name)}: {reason}" for name, reason in bad[:_MAX_LISTED]]
    if len(bad) > _MAX_LISTED:
        lines.append(f"  and {len(bad) - _MAX_LISTED:,} more")
    count = counted(len(bad), "image")
    listed = "\n".join(lines)
    raise UserError(
        f"{where}: {count} cannot be read:\n{listed}\nrepair or remove them, or use --skip-bad-images to leave them out"
    )


def count_conversions(kinds: Iterable[Iterable[str]]) -> dict[str, int]:
    """Count the images per kind of conversion, most frequent first, ties by name."""
    return count_values(chain.from_iterable(kinds))


def count_values(values: Iterable[str]) -> dict[str, int]:
    """Count each value, most frequent first, ties by name."""
    return dict(sorted(Counter(values).items(), key=lambda item: (-item[1], item[0])))
