"""Every form of pixels that PNG and TIFF files have, written without an image library: right, or refused by name."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, features

from gan.data.decode import ON_WHITE, to_pixels
from gan.data.source import BadImage
from tests.helpers.image_files import Samples, packed, png, png_chunk, tiff

SIDE = 16


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
        extra = png_chunk(b"tRNS", struct.pack(">H", samples[0, 0]))
    assert (ON_WHITE in assert_pixels(png(0, depth, samples, extra), expected, 0.5)) == transparent


@pytest.mark.parametrize("depth", [8, 16])
def test_png_colour(depth: int) -> None:
    samples = drawn(2**depth, 3)
    assert_pixels(png(2, depth, samples), samples / (2**depth - 1), 1)


def test_png_colour_of_which_one_is_transparent() -> None:
    samples = drawn(256, 3)
    expected = samples / 255
    expected[(samples == samples[0, 0]).all(2)] = 1
    extra = png_chunk(b"tRNS", struct.pack(">HHH", *samples[0, 0]))
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
    extra = png_chunk(b"PLTE", palette.astype(np.uint8).tobytes())
    if transparent:
        expected = on_white(expected, alpha[samples] / 255)
        extra += png_chunk(b"tRNS", alpha.astype(np.uint8).tobytes())
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


@pytest.mark.parametrize("top", [1, 7, 255, 1000, 65535])
@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("plain", [False, True])
def test_netpbm(plain: bool, colour: bool, top: int) -> None:
    """The header of a PGM or PPM has the value of white."""
    samples = drawn(top + 1, 3 if colour else None)
    kind = (5, 6)[colour] - 3 * plain
    wide = samples.astype(">u2" if top > 255 else "u1").tobytes()
    data = " ".join(map(str, samples.reshape(-1))).encode() if plain else wide
    assert_pixels(f"P{kind} {SIDE} {SIDE} {top}\n".encode() + data, samples / top, 1)


@pytest.mark.parametrize("plain", [False, True])
def test_netpbm_of_one_bit(plain: bool) -> None:
    """A 1 is black."""
    samples = drawn(2)
    data = "\n".join("".join(map(str, row)) for row in samples).encode() if plain else packed_rows(samples)
    assert_pixels(f"P{4 - 3 * plain} {SIDE} {SIDE}\n".encode() + data, 1.0 - samples, 0)


def packed_rows(samples: Samples) -> bytes:
    return b"".join(packed(row, 1) for row in samples)


@pytest.mark.skipif(not features.check("jpg_2000"), reason="this Pillow has no JPEG 2000")
@pytest.mark.parametrize("ending", ["jp2", "j2k"])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "I;16"])
def test_jpeg_2000(mode: str, ending: str) -> None:
    """Pillow writes it without loss; its reader has no other writer here to be held against."""
    channels = {"L": None, "RGB": 3, "RGBA": 4, "LA": 2, "I;16": None}[mode]
    samples = drawn(65536 if mode == "I;16" else 256, channels).astype(np.uint16 if mode == "I;16" else np.uint8)
    file = io.BytesIO()
    Image.fromarray(samples).save(file, "JPEG2000", irreversible=False, no_jp2=ending == "j2k")
    values = samples / (65535 if mode == "I;16" else 255)
    if mode in ("RGBA", "LA"):
        values = on_white(values[..., :-1], values[..., -1])
        values = values[..., 0] if mode == "LA" else values
    assert_pixels(file.getvalue(), values, 1)


@pytest.mark.parametrize("subsampling", [None, (2, 2), (2, 1)])
def test_tiff_of_fewer_colours_is_refused(subsampling: tuple[int, int] | None) -> None:
    """Without the tag it is 2, 2 (TIFF 6.0, section 21), which Pillow reads as if it were 1, 1."""
    content = tiff(6, 8, drawn(256, 3), "<", subsampling=subsampling)
    with pytest.raises(BadImage, match="uncompressed YCbCr with fewer colour than brightness pixels"):
        to_pixels(content, SIDE, 3)


def test_tiff_of_ycbcr() -> None:
    samples = drawn(256, 3)
    y, cb, cr = (samples[..., channel].astype(float) for channel in range(3))
    rgb = [y + 1.402 * (cr - 128), y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128), y + 1.772 * (cb - 128)]
    expected = np.clip(np.stack(rgb, 2), 0, 255) / 255
    assert_pixels(tiff(6, 8, samples, "<", subsampling=(1, 1)), expected, 1.5)
