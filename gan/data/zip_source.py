"""Images in a zip, read where they lie: nothing is ever extracted."""

from __future__ import annotations

import hashlib
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from gan.data.labels import select_and_label
from gan.data.source import (
    MAX_ENTRY,
    BadImage,
    Listing,
    Reader,
    is_image_name,
    is_labels_name,
    no_images_error,
    normalized_name,
    printable_name,
)
from gan.errors import UserError

_RATIO = 1000  # deflate compresses at most about 1030 times; only a bomb or a blank image comes near
_SMALL = 16 * 2**20  # bytes below which an entry's ratio does no harm
_LARGE = 2**30  # bytes below which the sum of all entries does no harm
_DRIVE = re.compile("[A-Za-z]:/")  # of Windows; a colon elsewhere is a letter like any other
_ENCRYPTED = 0x1
_LOCAL_HEADER = 30  # bytes before an entry's name
_END = struct.Struct("<4s4H2LH")  # end of central directory record
_END64 = struct.Struct("<4sQ2H2L4Q")  # its zip64 form, which comes before it
_LOCATOR64 = 20  # bytes between the two


class ZipSource:
    """The images of a zip, sorted by name.

    Entries are found by Python's zipfile and read by a few lines of our own: zipfile takes several times as long over
    each of a hundred thousand small images, and shares one lock between all threads.
    """

    kind = "zip"

    def __init__(self, path: Path, *, split: str) -> None:
        self.name = str(path)
        self._path = path
        self._split = split

    @cached_property
    def key(self) -> bytes:
        """A digest of the central directory as it stands: names, sizes and CRCs, and where the entries lie.

        Raises:
            UserError: this is no zip.
        """
        # Read without taking it apart, so that a decoded copy is found at once.
        try:
            with open(self._path, "rb") as file:
                directory = _central_directory(file)
        except OSError as error:
            raise UserError(f"{self.name}: {error.strerror or error}") from error
        if directory is None:
            raise _not_whole(self.name)
        return hashlib.sha256(self._split.encode() + b"\0" + directory).digest()

    @property
    def listing(self) -> Listing:
        """The images and their labels.

        Raises:
            UserError: the file is no zip or not a whole one, is dangerous to read or encrypted, holds no images, or its
                `dataset.json` is malformed.
        """
        return self._parsed[0]

    @cached_property
    def _parsed(self) -> tuple[Listing, list[zipfile.ZipInfo]]:
        try:
            with zipfile.ZipFile(self._path) as archive:
                infos = archive.infolist()
        except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
            raise _not_whole(self.name) from error
        except OSError as error:
            raise UserError(f"{self.name}: {error.strerror or error}") from error
        infos = [info for info in infos if not info.is_dir()]
        for info in infos:
            _refuse_outside(info.filename.replace("\\", "/"), self.name)
        # Of two entries of one name the later counts, as in unzip.
        files = {normalized_name(info.filename): info for info in infos}
        images = {name: info for name, info in sorted(files.items()) if is_image_name(name)}
        tables = {name: info for name, info in files.items() if is_labels_name(name)}
        if not images:
            raise no_images_error(self.name)
        _refuse_dangerous([*images.values(), *tables.values()], self._path)

        def read_table(name: str) -> bytes:
            try:
                with open(self._path, "rb") as file:
                    return _read(file, tables[name], None)
            except (OSError, BadImage) as error:
                raise UserError(f"{self.name}: {name} cannot be read: {error}") from error

        names = list(images)
        arranged = select_and_label(names, list(tables), read_table, split=self._split, where=self.name)
        entries = list(images.values())
        kept = [entries[number] for number in arranged.keep]
        return Listing(tuple(names[number] for number in arranged.keep), arranged.labels, arranged.classes), kept

    @contextmanager
    def opened(self) -> Iterator[Reader]:
        """A reader with a file handle of its own."""
        _, entries = self._parsed
        try:
            file = open(self._path, "rb")
        except OSError as error:
            raise UserError(f"{self.name}: {error.strerror or error}") from error
        with file:

            def read(index: int, limit: int | None = None) -> bytes:
                try:
                    return _read(file, entries[index], limit)
                except OSError as error:
                    raise BadImage(error.strerror or type(error).__name__) from error

            yield read


def _not_whole(name: str) -> UserError:
    return UserError(f"{name}: not a zip, or not a whole one; give a folder of images, or a zip of one")


def _refuse_outside(name: str, where: str) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or _DRIVE.match(name):
        raise UserError(f"{where}: refused, its entry {printable_name(name)} names a place outside the zip")


def _refuse_dangerous(entries: list[zipfile.ZipInfo], path: Path) -> None:
    for entry in entries:
        what = f"{path}: refused, its entry {printable_name(entry.filename)}"
        if entry.flag_bits & _ENCRYPTED:
            raise UserError(f"{what} is encrypted; unpack it with its password and give the folder")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise UserError(f"{what} is compressed by method {entry.compress_type}; repack it stored or deflated")
        if entry.file_size > MAX_ENTRY:
            raise UserError(f"{what} takes {entry.file_size:,} bytes unpacked, more than {MAX_ENTRY >> 20} MiB")
        if entry.file_size > max(_SMALL, _RATIO * entry.compress_size):
            raise UserError(f"{what} unpacks {entry.compress_size:,} bytes to {entry.file_size:,}: a zip bomb")
    # Entries that overlap can each be harmless, and all together absurd.
    total, size = sum(entry.file_size for entry in entries), path.stat().st_size
    if total > max(_LARGE, _RATIO * size):
        raise UserError(f"{path}: refused, its {size:,} bytes unpack to {total:,}: a zip bomb")


def _read(file: BinaryIO, entry: zipfile.ZipInfo, limit: int | None) -> bytes:
    """The content of an entry, or its first `limit` bytes; the CRC is checked where all of it is read."""
    file.seek(entry.header_offset)
    header = file.read(_LOCAL_HEADER)
    if len(header) < _LOCAL_HEADER or header[:4] != b"PK\x03\x04":
        raise BadImage("damaged in the zip: no header where it should be")
    name_length, extra_length = struct.unpack("<HH", header[26:30])
    file.seek(name_length + extra_length, 1)
    stored = entry.compress_type == zipfile.ZIP_STORED
    if limit is not None and limit < entry.file_size:
        # Deflate never makes incompressible data longer by more than a few bytes per block.
        content = file.read(min(entry.compress_size, limit + limit // 64 + 64))
        return content[:limit] if stored else _inflate(content, limit)
    content = file.read(entry.compress_size)
    if not stored:
        content = _inflate(content, entry.file_size)
    if len(content) != entry.file_size or zlib.crc32(content) != entry.CRC:
        raise BadImage("damaged in the zip: wrong CRC")
    return content


def _inflate(content: bytes, size: int) -> bytes:
    try:
        # One byte more than promised shows an entry that lies about its size, and no more is unpacked.
        return zlib.decompressobj(-15).decompress(content, size + 1)
    except zlib.error as error:
        raise BadImage("damaged in the zip: not deflated data") from error


def _central_directory(file: BinaryIO) -> bytes | None:
    """All bytes from the start of the central directory to the end of the file, or None if there is none."""
    length = file.seek(0, 2)
    tail_length = min(length, _END.size + 0xFFFF)  # the end record, and the longest comment
    file.seek(length - tail_length)
    tail = file.read(tail_length)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or at + _END.size > tail_length:
        return None
    end = length - tail_length + at
    size = _END.unpack_from(tail, at)[5]
    start64 = end - _END64.size - _LOCATOR64
    if start64 >= 0:
        file.seek(start64)
        record = file.read(_END64.size)
        if record[:4] == b"PK\x06\x06":
            end, size = start64, _END64.unpack(record)[8]
    if size > end:
        return None
    file.seek(end - size)
    return file.read()
