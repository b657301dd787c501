"""PNG and TIFF files of any type and depth, written from known samples without an image library."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.integer]

_ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    kind: int,
    depth: int,
    samples: Samples,
    extra: bytes = b"",
    *,
    interlaced: bool = False,
    filters: Sequence[int] = (0,),
) -> bytes:
    """A PNG of a colour type and depth; samples (H, W) or (H, W, channels); rows take the filters in turn."""
    height, width = samples.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, int(interlaced))
    passes = [samples[row::down, column::right] for row, column, down, right in _ADAM7] if interlaced else [samples]
    step = max(1, depth * (1 if samples.ndim == 2 else samples.shape[2]) // 8)
    rows = b"".join(_filtered(part, depth, step, filters) for part in passes if part.size)
    image = png_chunk(b"IHDR", header) + extra + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + image


def _filtered(part: Samples, depth: int, step: int, filters: Sequence[int]) -> bytes:
    """The rows of a pass, each behind its filter: none, sub, up, average or Paeth (PNG specification, 9)."""
    encoded, above = b"", None
    for number, row in enumerate(part):
        data = packed(row, depth)
        above = above or bytes(len(data))
        kind = filters[number % len(filters)]
        encoded += bytes([kind])
        for index, value in enumerate(data):
            left, corner = (data[index - step], above[index - step]) if index >= step else (0, 0)
            up = above[index]
            encoded += bytes([(value - (0, left, up, (left + up) // 2, _paeth(left, up, corner))[kind]) % 256])
        above = data
    return encoded


def _paeth(left: int, up: int, corner: int) -> int:
    distances = [abs(left + up - corner - value) for value in (left, up, corner)]
    return (left, up, corner)[distances.index(min(distances))]


def packed(row: Samples, depth: int, order: str = ">") -> bytes:
    """The samples of a row, the first one in the highest bits, filled up to whole bytes."""
    if depth in (16, 32):
        return row.astype(f"{order}u{depth // 8}").tobytes()
    bits = "".join(format(int(value), f"0{depth}b") for value in row.reshape(-1))
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def tiff(
    photometric: int,
    depth: int,
    samples: Samples,
    order: str,
    extra_samples: int | None = None,
    *,
    palette: Samples | None = None,
    sample_format: int | None = None,
    planar: bool = False,
    deflated: bool = False,
    reversed_bits: bool = False,
    rows_per_strip: int | None = None,
    subsampling: tuple[int, int] | None = None,
) -> bytes:
    """A TIFF in a byte order, `<` or `>`; samples (H, W) or (H, W, channels), palette (2**depth, 3) of 16 bits."""
    height, width = samples.shape[:2]
    channels = 1 if samples.ndim == 2 else samples.shape[2]
    planes = [samples[..., channel] for channel in range(channels)] if planar and channels > 1 else [samples]
    rows = rows_per_strip or height
    strips = [
        b"".join(packed(row, depth, order) for row in plane[start : start + rows])
        for plane in planes
        for start in range(0, height, rows)
    ]
    if deflated:
        strips = [zlib.compress(strip) for strip in strips]
    if reversed_bits:
        strips = [bytes(int(f"{byte:08b}"[::-1], 2) for byte in strip) for strip in strips]
    offsets = [8 + sum(map(len, strips[:index])) for index in range(len(strips))]
    tags: dict[int, tuple[str, Sequence[int]]] = {
        256: ("L", [width]),
        257: ("L", [height]),
        258: ("H", [depth] * channels),
        259: ("H", [8 if deflated else 1]),
        262: ("H", [photometric]),
        273: ("L", offsets),
        277: ("H", [channels]),
        278: ("L", [rows]),
        279: ("L", [len(strip) for strip in strips]),
    }
    if reversed_bits:
        tags[266] = ("H", [2])
    if len(planes) > 1:
        tags[284] = ("H", [2])
    if palette is not None:
        tags[320] = ("H", palette.T.reshape(-1).tolist())
    if extra_samples is not None:
        tags[338] = ("H", [extra_samples])
    if subsampling is not None:
        tags[530] = ("H", subsampling)
    if sample_format is not None:
        tags[339] = ("H", [sample_format] * channels)
    body = b"".join(strips)
    table = struct.pack(f"{order}H", len(tags))
    for tag, (form, values) in sorted(tags.items()):
        data = struct.pack(f"{order}{len(values)}{form}", *values)
        if len(data) > 4:
            body += bytes(len(body) % 2)
            place = struct.pack(f"{order}L", 8 + len(body))
            body += data
        else:
            place = data.ljust(4, b"\0")
        table += struct.pack(f"{order}HHL", tag, {"H": 3, "L": 4}[form], len(values)) + place
    body += bytes(len(body) % 2)
    return (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HL", 42, 8 + len(body)) + body + table + bytes(4)
