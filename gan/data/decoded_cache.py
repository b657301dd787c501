"""Decoded images kept on disk, so that a set is decoded once. The folder may be deleted at any time.

A file holds the length of its header (8 bytes), the header's SHA-256 (32 bytes), the header (JSON), the pixels and the
labels (little-endian int64). The header tells their shape and fingerprint, against which they are checked when read.
"""

from __future__ import annotations

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

FEWEST = 2000  # images; fewer are decoded about as fast as they are read back
_FORMAT = 3  # to be raised whenever the same file would be decoded to other pixels, labelled or told of otherwise
_START = struct.Struct("<Q32s")
_LARGEST_HEADER = 2**26
_BLOCK = 2**23
_UNUSED = 60 * 24 * 3600.0  # seconds after which a file that nobody read is removed
_ABANDONED = 24 * 3600.0  # seconds after which a half-written file has no writer any more


@dataclass(frozen=True)
class CacheHeader:
    """What a file says of itself."""

    path: Path
    shape: tuple[int, int, int, int]
    labelled: bool
    classes: tuple[str, ...]
    conversions: dict[str, int]
    bad: tuple[tuple[str, str], ...]
    fingerprint: str
    start: int

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return self.start + int(np.prod(self.shape, dtype=object)) + 8 * self.shape[0] * self.labelled


def decoded_cache_folder() -> Path | None:
    """Where decoded images are kept; None where there is no place for them."""
    try:
        return cache_folder("decoded")
    except RuntimeError:  # no home folder
        return None


def decoded_cache_key(source_key: bytes, resolution: int, channels: int) -> str:
    """The file's name for a source at a resolution, in hex; another version of Pillow may decode to other pixels."""
    made_of = f"{_FORMAT} {PIL.__version__} {resolution} {channels} ".encode()
    return hashlib.sha256(made_of + source_key).hexdigest()


def find_cached(key: str) -> CacheHeader | None:
    """The header of the file kept under a key, or None where there is none or it is damaged."""
    if (place := decoded_cache_folder()) is None:
        return None
    path = place / f"{key}.images"
    try:
        with open(path, "rb") as file:
            head = _read_head(file, path)
            return head if os.fstat(file.fileno()).st_size == head.size else None
    except (OSError, ValueError, KeyError, TypeError, struct.error):
        return None


def read_cached(head: CacheHeader) -> Decoded | None:
    """The images of a file that `find` found, or None where they are not what was written."""
    count = head.shape[0]
    try:
        pixels = np.empty(head.shape, dtype=np.uint8)
        labels = np.empty(count, dtype="<i8") if head.labelled else None
        digest = begin_fingerprint(head.shape)
        with open(head.path, "rb") as file:
            file.seek(head.start)
            whole = pixels.reshape(-1).data
            for start in range(0, len(whole), _BLOCK):
                block = whole[start : start + _BLOCK]
                if file.readinto(block) != len(block):
                    return None
                digest.update(block)
            if labels is not None and file.readinto(labels.data) != labels.nbytes:
                return None
        labels = None if labels is None else labels.astype(np.int64)
        if end_fingerprint(digest, labels) != head.fingerprint:
            return None
        os.utime(head.path)  # it was of use
    except OSError:
        return None
    return Decoded(pixels, labels, head.classes, head.conversions, head.bad, head.fingerprint)


def write_cached(key: str, decoded: Decoded) -> None:
    """Keep decoded images under a key. Where that is not possible (no space, no right to write) nothing happens."""
    if (place := decoded_cache_folder()) is None:
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
        place.mkdir(parents=True, exist_ok=True)
        _tidy(place)
        if shutil.disk_usage(place).free < 2 * decoded.pixels.nbytes:
            return
        with atomic_write(place / f"{key}.images") as file:
            file.write(_START.pack(len(header), hashlib.sha256(header).digest()))
            file.write(header)
            file.write(np.ascontiguousarray(decoded.pixels).data)
            if decoded.labels is not None:
                file.write(decoded.labels.astype("<i8").tobytes())
    except OSError:
        return


def _read_head(file: BinaryIO, path: Path) -> CacheHeader:
    length, digest = _START.unpack(file.read(_START.size))
    if length > _LARGEST_HEADER:
        raise ValueError("the header is too long")
    header = file.read(length)
    if hashlib.sha256(header).digest() != digest:
        raise ValueError("the header is damaged")
    told: dict[str, Any] = json.loads(header)
    count, channels, height, width = told["shape"]
    return CacheHeader(
        path=path,
        shape=(count, channels, height, width),
        labelled=told["labelled"],
        classes=tuple(told["classes"]),
        conversions=told["conversions"],
        bad=tuple((name, reason) for name, reason in told["bad"]),
        fingerprint=told["fingerprint"],
        start=_START.size + length,
    )


def _tidy(place: Path) -> None:
    """Remove what nobody has read for long, and what a killed program left half-written."""
    now = time.time()
    for path in place.iterdir():
        if path.suffix in (".images", PARTIAL):
            longest = _ABANDONED if path.suffix == PARTIAL else _UNUSED
            if now - path.stat().st_mtime > longest:
                path.unlink(missing_ok=True)
