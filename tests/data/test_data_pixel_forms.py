"""Every form of pixels that PNG and TIFF files have, written by a few lines of this file: right, or refused by name."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from numpy.typing import NDArray

from gan.data.decode import ON_WHITE, to_pixels
from gan.data.source import BadImage

SIDE = 16
Samples = NDArray[np.integer]


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def packed(row: Samples, depth: int, order: str = ">") -> bytes:
    """The samples of a row, the first one in the highest bits, filled up to whole bytes."""
    if depth == 16:
        return row.astype(f"{order}u2").tobytes()
    bits = "".join(format(int(value), f"0{depth}b") for value in row.reshape(-1))
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def png(kind: int, depth: int, samples: Samples, extra: bytes = b"") -> bytes:
    """A PNG of a colour type and depth; samples (H, W) or (H, W, channels)."""
    header = struct.pack(">IIBBBBB", SIDE, SIDE, depth, kind, 0, 0, 0)
    rows = b"".join(b"\0" + packed(row, depth) for row in samples)
    image = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + image


def tiff(photometric: int, depth: int, samples: Samples, order: str, extra_samples: int | None = None) -> bytes:
    """An uncompressed TIFF in a byte order, `<` or `>`; samples (H, W) or (H, W, channels)."""
    channels = 1 if samples.ndim == 2 else samples.shape[2]
    data = b"".join(packed(row, depth, order) for row in samples)
    depths = struct.pack(f"{order}{channels}H", *[depth] * channels)
    tags = [(256, 4, SIDE), (257, 4, SIDE), (258, 3, depth), (259, 3, 1), (262, 3, photometric), (273, 4, 8)]
    tags += [(277, 3, channels), (278, 4, SIDE), (279, 4, len(data))]
    tags += [] if extra_samples is None else [(338, 3, extra_samples)]
    table = struct.pack(f"{order}H", len(tags))
    for tag, kind, value in tags:
        if tag == 258 and channels > 2:  # the values do not fit into the entry, which has their place
            table += struct.pack(f"{order}HHLL", tag, kind, channels, 8 + len(data))
        else:
            table += struct.pack(
                f"{order}HHLHH" if kind == 3 else f"{order}HHLL", tag, kind, 1, value, *[0] * (kind == 3)
            )
    start = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HL", 42, 8 + len(data) + len(depths))
    return start + data + depths + table + struct.pack(f"{order}L", 0)


def drawn(top: int, channels: int | None = None) -> Samples:
    shape = (SIDE, SIDE) if channels is None else (SIDE, SIDE, channels)
    return np.random.default_rng(top).integers(0, top, shape)


def assert_pixels(content: bytes, expected: NDArray[np.floating], within: float) -> tuple[str, ...]:
    """Decode a file; `expected` (H, W) or (H, W, 3) has values from 0 to 1."""
    channels = 1 if expected.ndim == 2 else 3
    pixels, kinds = to_pixels(content, SIDE, channels)
    decoded = pixels[0] if channels == 1 else pixels.transpose(1, 2, 0)
    assert np.abs(decoded - expected * 255).max() <= within
    return kinds


def on_white(values: NDArray[np.floating], alpha: NDArray[np.floating]) -> NDArray[np.floating]:
    return values * alpha[..., None] + 1 - alpha[..., None]


@pytest.mark.parametrize("transparent", [False, True])
@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_png_grey(depth: int, transparent: bool) -> None:
    samples = drawn(2**depth)
    expected = samples / (2**depth - 1)
    extra = b""
    if transparent:
        expected[samples == samples[0, 0]] = 1
        extra = chunk(b"tRNS", struct.pack(">H", samples[0, 0]))
    assert (ON_WHITE in assert_pixels(png(0, depth, samples, extra), expected, 0.5)) == transparent


@pytest.mark.parametrize("depth", [8, 16])
def test_png_colour(depth: int) -> None:
    samples = drawn(2**depth, 3)
    assert_pixels(png(2, depth, samples), samples / (2**depth - 1), 1)


def test_png_colour_of_which_one_is_transparent() -> None:
    samples = drawn(256, 3)
    expected = samples / 255
    expected[(samples == samples[0, 0]).all(2)] = 1
    extra = chunk(b"tRNS", struct.pack(">HHH", *samples[0, 0]))
    assert ON_WHITE in assert_pixels(png(2, 8, samples, extra), expected, 0.5)
    with pytest.raises(
        BadImage, match="16-bit colours of which one is transparent; convert it to 8 bits or to an alpha"
    ):
        to_pixels(png(2, 16, samples * 257, extra), SIDE, 3)


@pytest.mark.parametrize("transparent", [False, True])
@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_png_palette(depth: int, transparent: bool) -> None:
    rng = np.random.default_rng(depth)
    palette, alpha = rng.integers(0, 256, (2**depth, 3)), rng.integers(0, 256, 2**depth)
    samples = drawn(2**depth)
    expected = palette[samples] / 255
    extra = chunk(b"PLTE", palette.astype(np.uint8).tobytes())
    if transparent:
        expected = on_white(expected, alpha[samples] / 255)
        extra += chunk(b"tRNS", alpha.astype(np.uint8).tobytes())
    assert_pixels(png(3, depth, samples, extra), expected, 0.5)


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize(("kind", "channels"), [(4, 2), (6, 4)])
def test_png_with_alpha(kind: int, channels: int, depth: int) -> None:
    """16 bits are cut to 8 before transparency is laid on white: two roundings."""
    samples = drawn(2**depth, channels)
    values = samples / (2**depth - 1)
    expected = on_white(values[..., :-1], values[..., -1])
    assert_pixels(png(kind, depth, samples), expected[..., 0] if channels == 2 else expected, 0.5 if depth == 8 else 2)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("photometric", [0, 1])
def test_tiff_grey(photometric: int, depth: int, order: str) -> None:
    """Photometric interpretation 0 means that zero is white."""
    samples = drawn(2**depth)
    values = samples / (2**depth - 1)
    content = tiff(photometric, depth, samples, order)
    if (photometric, depth, order) == (0, 16, ">"):  # Pillow does not open it
        with pytest.raises(BadImage):
            to_pixels(content, SIDE, 1)
        return
    assert_pixels(content, 1 - values if photometric == 0 else values, 0.5)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("extra_samples", [None, 0, 1, 2])
def test_tiff_colour(extra_samples: int | None, depth: int, order: str) -> None:
    """Without a fourth sample, with one of no meaning (0), premultiplied alpha (1) and alpha (2)."""
    samples = drawn(2**depth, 3 if extra_samples is None else 4)
    if extra_samples == 1:
        samples = np.minimum(samples, samples[..., 3:])  # no colour is brighter than its alpha
    values = samples / (2**depth - 1)
    expected = values[..., :3]
    if extra_samples == 1:
        expected = expected + 1 - values[..., 3:]
    elif extra_samples == 2:
        expected = on_white(expected, values[..., 3])
    assert_pixels(tiff(2, depth, samples, order, extra_samples), expected, 3 if depth == 16 else 1.5)
