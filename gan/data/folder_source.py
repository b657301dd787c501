"""Images that are files: in a folder, or named one by one."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gan.data.labels import select_and_label
from gan.data.source import (
    MAX_ENTRY,
    BadImage,
    Listing,
    Reader,
    is_image_name,
    is_labels_name,
    is_visible,
    no_images_error,
)
from gan.errors import UserError


@dataclass(frozen=True)
class FileSource:
    """Images that are files below `root`, named relative to it."""

    name: str
    kind: str
    root: Path
    key: bytes
    listing: Listing

    @contextmanager
    def opened(self) -> Iterator[Reader]:
        """A reader of whole files."""
        root = str(self.root)

        def read(index: int, limit: int | None = None) -> bytes:
            path = os.path.join(root, self.listing.names[index])
            try:
                # Opening a pipe would wait for ever, so what it is comes first.
                found = os.stat(path)
                if not stat.S_ISREG(found.st_mode):
                    raise BadImage("not a regular file")
                if found.st_size > MAX_ENTRY:
                    raise BadImage(f"a file of more than {MAX_ENTRY >> 20} MiB")
                with open(path, "rb") as file:
                    return file.read(-1 if limit is None else limit)
            except OSError as error:
                raise BadImage(error.strerror or type(error).__name__) from error

        yield read


def open_folder(path: Path, *, split: str) -> FileSource:
    """The images of a folder and all its sub-folders, sorted by name.

    Raises:
        UserError: it holds no images, cannot be read, or its `dataset.json` is malformed.
    """
    images: list[tuple[str, int, int]] = []
    tables: list[str] = []
    try:
        for name, size, stamp in _walk(path, "", frozenset()):
            if is_image_name(name):
                images.append((name, size, stamp))
            elif is_labels_name(name):
                tables.append(name)
        if not images:
            raise no_images_error(str(path))
        images.sort()
        names = [name for name, _, _ in images]
        arranged = select_and_label(
            names, tables, lambda table: (path / table).read_bytes(), split=split, where=str(path)
        )
        labels = [(table, (path / table).read_bytes()) for table in sorted(tables)]
    except OSError as error:
        raise UserError(f"{error.filename or path}: {error.strerror or error}") from error
    kept = [images[number] for number in arranged.keep]
    listing = Listing(tuple(name for name, _, _ in kept), arranged.labels, arranged.classes)
    return FileSource(str(path), "folder", path, file_list_key(kept, labels), listing)


def file_list_key(images: Sequence[tuple[str, int, int]], labels: Sequence[tuple[str, bytes]] = ()) -> bytes:
    """A digest of names, sizes and times of change (ns), and of the content of label files."""
    digest = hashlib.sha256()
    for name, size, stamp in images:
        digest.update(f"{len(name)} {name} {size} {stamp}\n".encode("utf-8", "surrogateescape"))
    for name, content in labels:
        digest.update(f"{len(name)} {name} {len(content)}\n".encode("utf-8", "surrogateescape"))
        digest.update(content)
    return digest.digest()


def _walk(folder: Path | str, inside: str, above: frozenset[tuple[int, int]]) -> Iterator[tuple[str, int, int]]:
    """Relative name, size and time of change of every visible file; links are followed."""
    here = os.stat(folder)
    place = (here.st_dev, here.st_ino)
    if place in above:  # a link back to a folder that holds it
        return
    with os.scandir(folder) as found:
        for entry in found:
            if not is_visible(entry.name):
                continue
            try:
                inner, status = entry.is_dir(), entry.stat()
            except OSError:  # a broken link: it is named with the unreadable images, should it bear such a name
                yield f"{inside}{entry.name}", 0, 0
                continue
            if inner:
                yield from _walk(entry.path, f"{inside}{entry.name}/", above | {place})
            else:
                yield f"{inside}{entry.name}", status.st_size, status.st_mtime_ns
