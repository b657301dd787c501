"""Cache of decoded images on disk, so that a set is decoded only once. The folder may be deleted at any time.

A file holds the length of its header (8 bytes), the header's SHA-256 (32 bytes), the header (JSON), the pixels and the
labels (little-endian int64). The header has their shape and fingerprint, which are verified when the file is read.
"""

import hashlib
import json
import os
import shutil
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import PIL

from gan.data.decode_all import Decoded, begin_fingerprint, end_fingerprint
from gan.utils.files import PARTIAL, atomic_write, cache_folder

MIN_IMAGES = 2000  # smaller sets are decoded about as fast as they are read back
_FORMAT = 4  # to be raised whenever the same file would get other pixels, labels, conversions or bad images
_START = struct.Struct("<Q32s")
_MAX_HEADER = 2**26  # bytes
_BLOCK = 2**23  # bytes read at a time
_UNUSED = 60 * 24 * 3600.0  # seconds since the last read after which a file is removed
_ABANDONED = 24 * 3600.0  # seconds after which a partial file has no writer any more


@dataclass(frozen=True)
class _Header:
    """The header of a cache file. The pixels begin at byte `start`; `fields` are the other fields of `Decoded`."""

    start: int
    shape: tuple[int, int, int, int]
    labelled: bool
    fields: dict[str, Any]

    @property
    def size(self) -> int:
        """Size of the whole file in bytes."""
        return self.start + int(np.prod(self.shape, dtype=object)) + 8 * self.shape[0] * self.labelled


def decoded_cache_folder() -> Path | None:
    """The cache folder; None if the user has no home folder."""
    return cache_folder("decoded")


def decoded_cache_key(source_key: bytes, resolution: int, channels: int) -> str:
    """File name for a source at a resolution, in hex. Another version of Pillow may decode to other pixels."""
    version = f"{_FORMAT} {PIL.__version__} {resolution} {channels} ".encode()
    return hashlib.sha256(version + source_key).hexdigest()


def read_cached(key: str) -> Decoded | None:
    """Return the images of the file with a key, or None if there is none, or it is not as it was written."""
    if (folder := decoded_cache_folder()) is None:
        return None
    path = folder / f"{key}.images"
    try:
        with open(path, "rb") as file:
            header = _read_header(file)
            if os.fstat(file.fileno()).st_size != header.size:
                return None
            pixels = np.empty(header.shape, dtype=np.uint8)
            labels = np.empty(header.shape[0], dtype="<i8") if header.labelled else None
            digest = begin_fingerprint(header.shape)
            buffer = pixels.reshape(-1).data
            for start in range(0, len(buffer), _BLOCK):
                block = buffer[start : start + _BLOCK]
                if file.readinto(block) != len(block):
                    return None
                digest.update(block)
            if labels is not None and file.readinto(labels.data) != labels.nbytes:
                return None
        labels = None if labels is None else labels.astype(np.int64)
        if end_fingerprint(digest, labels) != header.fields["fingerprint"]:
            return None
        os.utime(path)  # the time of the last read, for `_remove_unused`
        return Decoded(pixels, labels, **header.fields)
    except (OSError, ValueError, KeyError, TypeError, struct.error):
        return None


def write_cached(key: str, decoded: Decoded) -> None:
    """Write decoded images under a key; do nothing if that is impossible (no space, no permission)."""
    if (folder := decoded_cache_folder()) is None:
        return
    header = json.dumps(
        {
            "shape": decoded.pixels.shape,
            "labelled": decoded.labels is not None,
            "classes": decoded.classes,
            "conversions": decoded.conversions,
            "bad": decoded.bad,
            "fingerprint": decoded.fingerprint,
        }
    ).encode()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _remove_unused(folder)
        if shutil.disk_usage(folder).free < 2 * decoded.pixels.nbytes:
            return
        with atomic_write(folder / f"{key}.images") as file:
            file.write(_START.pack(len(header), hashlib.sha256(header).digest()))
            file.write(header)
            file.write(np.ascontiguousarray(decoded.pixels).data)
            if decoded.labels is not None:
                file.write(decoded.labels.astype("<i8").tobytes())
    except OSError:
        return


def _read_header(file: BinaryIO) -> _Header:
    length, digest = _START.unpack(file.read(_START.size))
    if length > _MAX_HEADER:
        raise ValueError("the header is too long")
    content = file.read(length)
    if hashlib.sha256(content).digest() != digest:
        raise ValueError("the header is damaged")
    fields: dict[str, Any] = json.loads(content)
    shape, labelled = tuple(fields.pop("shape")), fields.pop("labelled")
    fields |= {"classes": tuple(fields["classes"]), "bad": tuple((name, reason) for name, reason in fields["bad"])}
    return _Header(_START.size + length, shape, labelled, fields)


def _remove_unused(folder: Path) -> None:
    """Remove files that were not read for long, and partial files of killed programs."""
    max_age = {".images": _UNUSED, PARTIAL: _ABANDONED}
    now = time.time()
    for path in folder.iterdir():
        if path.suffix in max_age and now - path.stat().st_mtime > max_age[path.suffix]:
            path.unlink(missing_ok=True)
