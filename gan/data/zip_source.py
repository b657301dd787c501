"""Image source that reads a zip without extracting it."""

import hashlib
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from gan.data import source
from gan.data.labels import select_and_label
from gan.data.source import BadImage, Listing, Note, Reader
from gan.errors import UserError
from gan.utils.counted import counted

_MAX_RATIO = 1000  # deflate compresses at most about 1030 times; only a zip bomb or a blank image comes near
_SMALL = 16 * 2**20  # bytes; a smaller entry may have any ratio
_FARTHEST = 2**62  # bytes; no file is as long
_LARGE = 2**30  # bytes; a smaller sum of all entries may have any ratio
_DRIVE = re.compile("[A-Za-z]:/")  # a Windows drive; elsewhere a colon is an ordinary character
_ENCRYPTED = 0x1
_UTF8 = 0x800
_MAX_LISTED = 3  # names in a message
_BLOCK = 2**20  # bytes read at a time for the digest
_LOCAL_HEADER = 30  # bytes of an entry's header before its name
_END = struct.Struct("<4s4H2LH")  # end of central directory record
_END64 = struct.Struct("<4sQ2H2L4Q")  # zip64 form of that record, stored before it
_LOCATOR64 = 20  # bytes between the two records


class ZipSource:
    """The images of a zip, sorted by name.

    zipfile lists the entries, and `_read` reads them: for a hundred thousand small images zipfile takes several times
    as long, and it shares one lock between all threads.
    """

    kind = "zip"

    def __init__(self, path: Path, *, split: str) -> None:
        self.name = str(path)
        self._path = path
        self._split = split

    @contextmanager
    def _file(self) -> Iterator[BinaryIO]:
        try:
            with open(self._path, "rb") as file:
                yield file
        except OSError as error:
            raise UserError(f"{self.name}: {error.strerror or error}") from error

    @cached_property
    def key(self) -> bytes:
        """Digest of the raw central directory: names, sizes, CRCs, offsets. Raises UserError if this is not a zip."""
        with self._file() as file:
            directory = _central_directory(file)
        if directory is None:
            raise _not_a_zip_error(self.name)
        return hashlib.sha256(self._split.encode() + b"\0" + directory).digest()

    def content_digest(self) -> bytes:
        """SHA-256 of the whole file: an entry may have been rewritten in place, without its CRC."""
        with self._file() as file:
            digest = hashlib.sha256()
            while block := file.read(_BLOCK):
                digest.update(block)
        return digest.digest()

    @property
    def listing(self) -> Listing:
        """The images and their labels.

        Raises:
            UserError: the file is not a zip, truncated, dangerous to read or encrypted, has no images, or its
                `dataset.json` is malformed.
        """
        return self._parsed[0]

    @cached_property
    def _parsed(self) -> tuple[Listing, list[zipfile.ZipInfo]]:
        try:
            with self._file() as file, zipfile.ZipFile(file) as archive:
                infos = archive.infolist()
        except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
            raise _not_a_zip_error(self.name) from error
        files: dict[str, zipfile.ZipInfo] = {}
        folders: list[str] = []
        repeated: list[str] = []
        ambiguous: list[str] = []
        for info in infos:
            name = _entry_name(info)
            _refuse_outside_path(name, self.name)
            normalized = source.normalized_name(name)
            if name.endswith("/"):
                folders.append(f"{normalized}/")
                continue
            if normalized in files:
                repeated.append(normalized)
            if "\\" in normalized and "/" not in normalized:
                ambiguous.append(normalized)
            files[normalized] = info  # as unzip does
        notes = list(_name_notes(repeated, ambiguous))
        images = {name: info for name, info in sorted(files.items()) if source.is_image_name(name)}
        tables = {name: info for name, info in files.items() if source.is_labels_name(name)}
        if not images:
            raise source.no_images_error(self.name)
        _refuse_dangerous([*images.values(), *tables.values()], self._path)

        def read_table(name: str) -> bytes:
            try:
                with open(self._path, "rb") as file:
                    return _read(file, tables[name], None)
            except (OSError, BadImage) as error:
                raise UserError(f"{self.name}: {name} cannot be read: {error}") from error

        names = list(images)
        others = files.keys() - images.keys() - tables.keys()
        selection = select_and_label(
            names,
            list(tables),
            read_table,
            split=self._split,
            where=self.name,
            others=list(filter(source.is_visible, [*others, *folders])),
        )
        entries = [images[names[index]] for index in selection.indices]
        selected = tuple(names[index] for index in selection.indices)
        ignored = source.count_ignored(others)
        listing = Listing(
            selected, selection.labels, selection.classes, selection.split_folder, ignored, (*notes, *selection.notes)
        )
        return listing, entries

    @contextmanager
    def opened(self) -> Iterator[Reader]:
        """Open a reader with a file handle of its own."""
        _, entries = self._parsed
        with self._file() as file:

            def read(index: int, limit: int | None = None) -> bytes:
                try:
                    return _read(file, entries[index], limit)
                except OSError as error:
                    raise BadImage(error.strerror or type(error).__name__) from error

            yield read


def _name_notes(repeated: list[str], ambiguous: list[str]) -> Iterator[Note]:
    if repeated:
        listed = source.list_names(sorted(set(repeated)), _MAX_LISTED)
        yield Note(f"{counted(len(repeated), 'entry')} replaced by a later one of the same name ({listed})")
    if ambiguous:
        listed = source.list_names(ambiguous, _MAX_LISTED)
        yield Note(
            f"{counted(len(ambiguous), 'name')} with a backslash that may separate folders ({listed}), in an unknown "
            "encoding; unpack the zip and give the folder"
        )


def _not_a_zip_error(name: str) -> UserError:
    return UserError(f"{name}: not a zip, or truncated; give a folder of images, or a zip of one")


def _entry_name(entry: zipfile.ZipInfo) -> str:
    """The name of an entry with `/` as separator.

    A name without the flag of UTF-8 is often UTF-8 all the same, else in the encoding of some Windows; zipfile reads it
    as code page 437, which keeps different names apart. In a name without `/`, backslashes separate folders. In a
    multi-byte encoding a character may end in the byte of a backslash, so there it must follow ASCII.
    """
    name, known = entry.filename, bool(entry.flag_bits & _UTF8)
    if not known:
        with suppress(UnicodeError):
            name, known = name.encode("cp437").decode("utf-8"), True
    if "/" in name:
        return name
    return name.replace("\\", "/") if known else re.sub(r"(?<=[\x00-\x7f])\\|^\\", "/", name)


def _refuse_outside_path(name: str, where: str) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or _DRIVE.match(name):
        raise UserError(f"{where}: refused, its entry {source.printable_name(name)} is a path outside the zip")


def _refuse_dangerous(entries: list[zipfile.ZipInfo], path: Path) -> None:
    for entry in entries:
        refused = f"{path}: refused, its entry {source.printable_name(entry.filename)}"
        if entry.flag_bits & _ENCRYPTED:
            raise UserError(f"{refused} is encrypted; unpack it with its password and give the folder")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise UserError(f"{refused} is compressed by method {entry.compress_type}; repack it stored or deflated")
        if entry.file_size > source.MAX_ENTRY:
            raise UserError(
                f"{refused} takes {entry.file_size:,} bytes unpacked, more than {source.MAX_ENTRY >> 20} MiB"
            )
        if entry.file_size > max(_SMALL, _MAX_RATIO * entry.compress_size):
            raise UserError(f"{refused} unpacks {entry.compress_size:,} bytes to {entry.file_size:,}: a zip bomb")
    # Entries that overlap can each be harmless and together be a bomb.
    total, size = sum(entry.file_size for entry in entries), path.stat().st_size
    if total > max(_LARGE, _MAX_RATIO * size):
        raise UserError(f"{path}: refused, its {size:,} bytes unpack to {total:,}: a zip bomb")


def _read(file: BinaryIO, entry: zipfile.ZipInfo, limit: int | None) -> bytes:
    """Return the content of an entry, or its first `limit` bytes; the CRC is checked if all of it is read."""
    if entry.compress_size > source.MAX_ENTRY + _SMALL or entry.header_offset > _FARTHEST:
        raise BadImage("damaged in the zip: its size or position is impossible")
    file.seek(entry.header_offset)
    header = file.read(_LOCAL_HEADER)
    if len(header) < _LOCAL_HEADER or header[:4] != b"PK\x03\x04":
        raise BadImage("damaged in the zip: its header is missing")
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
        # One byte more than the stated size exposes an entry with a false size, and limits what is unpacked.
        return zlib.decompressobj(-15).decompress(content, size + 1)
    except zlib.error as error:
        raise BadImage("damaged in the zip: not deflated data") from error


def _central_directory(file: BinaryIO) -> bytes | None:
    """Return the bytes from the start of the central directory to the end of the file, or None without a directory."""
    length = file.seek(0, 2)
    tail_length = min(length, _END.size + 0xFFFF)  # the end record and the longest possible comment
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
