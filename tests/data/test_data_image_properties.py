"""Any PNG or TIFF of a legal type and depth comes out as its pixels, or is refused."""

from __future__ import annotations

import struct

import numpy as np
from hypothesis import event, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gan.data.decode import ON_WHITE, inspect_image, to_pixels
from gan.data.source import BadImage
from tests.helpers.image_files import png, png_chunk, tiff

Values = NDArray[np.floating]

PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
TIFF_DEPTHS = {0: (1, 2, 4, 8, 16), 1: (1, 2, 4, 8, 12, 16, 32), 2: (8, 16), 3: (1, 2, 4, 8), 5: (8, 16)}
PNG_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}


def on_white(values: Values, alpha: Values) -> Values:
    return values * alpha[..., None] + 1 - alpha[..., None]


def check(content: bytes, expected: Values, within: float, transparent: bool) -> None:
    """The pixels are the expected ones, from 0 to 1 of shape (side, side, 1 or 3), or the file is refused by name."""
    side, channels = len(expected), expected.shape[2]
    try:
        pixels, kinds = to_pixels(content, side, channels)
    except BadImage as refused:
        event(f"refused: {refused}")
        assert str(refused)
        return
    assert inspect_image(content).size == (side, side)
    assert np.abs(pixels.transpose(1, 2, 0) - expected * 255).max() <= within
    assert (ON_WHITE in kinds) == transparent


@st.composite
def png_files(draw: st.DrawFn) -> tuple[bytes, Values, float, bool]:
    kind = draw(st.sampled_from(sorted(PNG_CHANNELS)))
    depth = draw(st.sampled_from(PNG_DEPTHS[kind]))
    side = draw(st.integers(1, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    channels, top = PNG_CHANNELS[kind], 2**depth - 1
    samples = rng.integers(0, top + 1, (side, side, channels))
    transparent = kind in (4, 6) or draw(st.booleans())
    extra = b""
    values = samples / top
    if kind == 3:
        size = draw(st.integers(1, 2**depth))
        palette, alpha = rng.integers(0, 256, (size, 3)), rng.integers(0, 256, draw(st.integers(1, size)))
        samples %= size
        values = palette[samples[..., 0]] / 255
        extra = png_chunk(b"PLTE", palette.astype(np.uint8).tobytes())
        if transparent:
            extra += png_chunk(b"tRNS", alpha.astype(np.uint8).tobytes())
            alpha = np.concatenate([alpha, np.full(size - len(alpha), 255)])
            values = on_white(values, alpha[samples[..., 0]] / 255)
    elif kind in (4, 6):
        values = on_white(values[..., :-1], values[..., -1])
    elif transparent:
        values[(samples == samples[0, 0]).all(2)] = 1
        extra = png_chunk(b"tRNS", struct.pack(f">{channels}H", *samples[0, 0]))
    filters = draw(st.lists(st.integers(0, 4), min_size=1, max_size=5))
    shaped = samples[..., 0] if channels == 1 else samples
    content = png(kind, depth, shaped, extra, interlaced=draw(st.booleans()), filters=filters)
    return content, values, 0.5 if depth < 16 else 1 if kind < 4 else 2.5, transparent


@st.composite
def tiff_files(draw: st.DrawFn) -> tuple[bytes, Values, float, bool]:
    photometric = draw(st.sampled_from([0, 1, 2, 3, 5]))
    depth = draw(st.sampled_from(TIFF_DEPTHS[photometric]))
    side = draw(st.integers(1, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    extra = draw(st.sampled_from([None, 0, 1, 2])) if depth in (8, 16) and photometric else None
    colours = {2: 3, 5: 4}.get(photometric, 1)
    top = 2**depth - 1
    samples = rng.integers(0, top + 1, (side, side, colours + (extra is not None)))
    palette = None
    if extra == 1:
        samples[..., :colours] = np.minimum(samples[..., :colours], samples[..., colours:])
    if photometric == 3:
        palette = rng.integers(0, 256, (2**depth, 3)) * 257 if depth < 16 else rng.integers(0, 2**16, (2**depth, 3))
        values = palette[samples[..., 0]] / 65535
    else:
        values = samples[..., :colours] / top
        values = 1 - values if photometric == 0 else values
        if photometric == 5:
            values = (1 - values[..., :3]) * (1 - values[..., 3:])
    alpha = samples[..., -1] / top
    if extra == 1 and photometric != 3:
        values = values + 1 - alpha[..., None]
    elif extra in (1, 2):
        values = on_white(values, alpha)
    signed = draw(st.sampled_from([None, None, 1, 1, 2]))
    if signed == 2:  # signed samples have no convention for black and white: only refusing is right
        values = np.full_like(values, 9)
    content = tiff(
        photometric,
        depth,
        samples[..., 0] if samples.shape[2] == 1 else samples,
        draw(st.sampled_from("<>")),
        extra,
        palette=palette,
        sample_format=signed,
        planar=draw(st.booleans()),
        deflated=draw(st.booleans()),
        reversed_bits=draw(st.booleans()),
        rows_per_strip=draw(st.integers(1, side)),
    )
    return content, values, 3 if depth >= 16 or extra == 1 else 1.5, extra in (1, 2)


@settings(deadline=None, max_examples=400, derandomize=True)
@given(png_files())
def test_png(file: tuple[bytes, Values, float, bool]) -> None:
    check(*file)


@settings(deadline=None, max_examples=400, derandomize=True)
@given(tiff_files())
def test_tiff(file: tuple[bytes, Values, float, bool]) -> None:
    check(*file)
