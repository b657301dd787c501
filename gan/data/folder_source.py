"""Image sources that are files: a folder, or a list of file names."""

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from gan.data import source
from gan.data.labels import select_and_label
from gan.data.source import BadImage, Listing, Reader
from gan.errors import UserError

# Without blocking, as opening a pipe would; as bytes on Windows.
_READ_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True)
class FileSource:
    """Image files below `root`, named relative to it."""

    name: str
    kind: str
    root: Path
    key: bytes
    listing: Listing

    def opened(self) -> AbstractContextManager[Reader]:
        """Open a reader of files."""
        return nullcontext(self._read)

    def _read(self, index: int, limit: int | None = None) -> bytes:
        path = os.path.join(self.root, self.listing.names[index])
        try:
            # The type is checked before opening: opening a pipe would block.
            status = os.stat(path)
            if not stat.S_ISREG(status.st_mode):
                raise BadImage("not a regular file")
            if status.st_size > source.MAX_ENTRY:
                raise BadImage(f"a file of more than {source.MAX_ENTRY >> 20} MiB")
            with open(path, "rb") as file:
                return file.read(-1 if limit is None else limit)
        except OSError as error:
            raise BadImage(error.strerror or type(error).__name__) from error

    def content_digest(self) -> bytes:
        """SHA-256 of the sizes and contents of all files; of a file that is refused, that it is."""
        # Fewer calls for each file than `_read` makes: the digest must cost little beside decoding.
        digest = hashlib.sha256()
        root = os.path.join(self.root, "")
        for name in self.listing.names:
            try:
                descriptor = os.open(root + name, _READ_FLAGS)
                try:
                    status = os.fstat(descriptor)
                    regular = stat.S_ISREG(status.st_mode) and status.st_size <= source.MAX_ENTRY
                    content = os.read(descriptor, status.st_size) if regular else b"refused"
                finally:
                    os.close(descriptor)
            except OSError:
                content = b"unreadable"
            digest.update(b"%d " % len(content))
            digest.update(content)
        return digest.digest()


def open_folder(path: Path, *, split: str) -> FileSource:
    """Open the images of a folder and all its sub-folders, sorted by name.

    Raises:
        UserError: the folder has no images, cannot be read, or its `dataset.json` is malformed.
    """
    images: list[tuple[str, int, int]] = []  # name, size, modification time
    tables: list[str] = []
    others: list[str] = []
    try:
        for name, size, stamp in _walk(path, "", frozenset()):
            if source.is_image_name(name):
                images.append((name, size, stamp))
            elif source.is_labels_name(name):
                tables.append(name)
            else:
                others.append(name)
        if not images:
            raise source.no_images_error(str(path))
        images.sort()
        names = [name for name, _, _ in images]
        selection = select_and_label(
            names,
            tables,
            lambda table: (path / table).read_bytes(),
            split=split,
            where=str(path),
            others=list(filter(source.is_visible, others)),
        )
        labels = [(table, (path / table).read_bytes()) for table in sorted(tables)]
    except OSError as error:
        raise UserError(f"{error.filename or path}: {error.strerror or error}") from error
    selected = [images[index] for index in selection.indices]
    listing = Listing(
        tuple(name for name, _, _ in selected),
        selection.labels,
        selection.classes,
        selection.split_folder,
        source.count_ignored(name for name in others if not name.endswith("/")),
        selection.notes,
    )
    return FileSource(str(path), "folder", path, file_list_key(selected, labels), listing)


def file_list_key(images: Sequence[tuple[str, int, int]], labels: Sequence[tuple[str, bytes]] = ()) -> bytes:
    """Digest of names, sizes and modification times (ns), and of the content of label files."""
    digest = hashlib.sha256()
    for name, size, stamp in images:
        digest.update(f"{len(name)} {name} {size} {stamp}\n".encode("utf-8", "surrogateescape"))
    for name, content in labels:
        digest.update(f"{len(name)} {name} {len(content)}\n".encode("utf-8", "surrogateescape"))
        digest.update(content)
    return digest.digest()


def _walk(folder: Path | str, prefix: str, parents: frozenset[tuple[int, int]]) -> Iterator[tuple[str, int, int]]:
    """Yield relative name, size and modification time (ns) of every file; links are followed.

    A hidden file or folder is yielded by its name alone. So is a folder, with `/` at its end.
    """
    status = os.stat(folder)
    identity = (status.st_dev, status.st_ino)
    if identity in parents:  # a link back to a parent folder
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if not source.is_visible(entry.name):
                yield f"{prefix}{entry.name}", 0, 0
                continue
            try:
                is_folder, status = entry.is_dir(), entry.stat()
            except OSError:  # a broken link: if it has an image's name, it is reported as an unreadable image
                yield f"{prefix}{entry.name}", 0, 0
                continue
            if is_folder:
                yield f"{prefix}{entry.name}/", 0, 0
                yield from _walk(entry.path, f"{prefix}{entry.name}/", parents | {identity})
            else:
                yield f"{prefix}{entry.name}", status.st_size, status.st_mtime_ns
