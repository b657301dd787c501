from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from gan.data import decode
from gan.data.decode import expected_conversions, inspect_image, to_pixels
from gan.data.source import BadImage

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # gan.data.decode turns them off, pytest on again

ORIENTATION = 0x0112


def encoded(image: Image.Image, form: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "WEBP"])
def test_images_of_the_right_size_keep_every_byte(form):
    pixels = random(8, 8, 3)
    content = encoded(Image.fromarray(pixels), form, **({"lossless": True} if form == "WEBP" else {}))
    got, kinds = to_pixels(content, 8, 3)
    assert kinds == ()
    assert got.dtype == np.uint8
    assert np.array_equal(got, pixels.transpose(2, 0, 1))


def test_jpegs_of_the_right_size_are_as_pillow_decodes_them():
    content = encoded(Image.fromarray(random(8, 8, 3)), "JPEG")
    got, kinds = to_pixels(content, 8, 3)
    assert kinds == ()
    assert np.array_equal(got, np.asarray(Image.open(io.BytesIO(content))).transpose(2, 0, 1))


def test_arrays_need_no_decoding():
    pixels = random(8, 8, 3)
    assert np.array_equal(to_pixels(pixels, 8, 3)[0], pixels.transpose(2, 0, 1))
    assert np.array_equal(to_pixels(pixels[..., 0], 8, 1)[0], pixels[None, ..., 0])


def test_grey_becomes_rgb_and_rgb_grey():
    grey = random(8, 8)
    got, kinds = to_pixels(encoded(Image.fromarray(grey)), 8, 3)
    assert kinds == (decode.TO_RGB,)
    assert np.array_equal(got, np.stack([grey] * 3))
    got, kinds = to_pixels(encoded(Image.new("RGB", (8, 8), (255, 0, 0))), 8, 1)
    assert kinds == (decode.TO_GREY,)
    assert got.shape == (1, 8, 8) and (got == 76).all()  # ITU-R 601: 0.299 * 255


@pytest.mark.parametrize(("size", "side"), [((12, 8), 8), ((8, 13), 8)])
def test_the_central_square_is_cropped(size, side):
    pixels = random(size[1], size[0], 3)
    got, kinds = to_pixels(encoded(Image.fromarray(pixels)), side, 3)
    assert kinds == (decode.CROPPED,)
    top, left = (size[1] - side) // 2, (size[0] - side) // 2
    assert np.array_equal(got, pixels[top : top + side, left : left + side].transpose(2, 0, 1))


def test_large_images_shrink_without_aliasing():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    got, kinds = to_pixels(encoded(Image.fromarray(stripes)), 16, 3)
    assert kinds == (decode.RESIZED,)
    assert np.abs(got[:, :, 2:-2].astype(int) - 127).max() < 8  # a plain grey; picking pixels would give black or white


def test_small_and_oblong_images_are_enlarged():
    got, kinds = to_pixels(encoded(Image.new("RGB", (4, 6), (1, 2, 3))), 16, 3)
    assert kinds == (decode.CROPPED, decode.ENLARGED)
    assert np.array_equal(got, np.broadcast_to(np.array([1, 2, 3], np.uint8)[:, None, None], (3, 16, 16)))


def test_extreme_shapes_take_no_memory():
    got, _ = to_pixels(encoded(Image.new("RGB", (60000, 1), (9, 9, 9))), 256, 3)
    assert (got == 9).all()


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(form, orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    content = encoded(Image.fromarray(random(10, 20, 3)), form, exif=exif)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    assert upright.size == ((20, 10) if orientation < 5 else (10, 20))
    got, kinds = to_pixels(content, 10, 3)
    assert np.array_equal(got, to_pixels(np.asarray(upright), 10, 3)[0])
    assert (decode.TURNED in kinds) == (orientation != 1)
    assert inspect_image(content).size == upright.size


def test_damaged_exif_is_no_reason_to_refuse():
    content = encoded(Image.new("RGB", (8, 8)), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert to_pixels(content, 8, 3)[1] == ()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_laid_on_white(mode):
    image = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 4, 8))
    image = image.quantize(4) if mode == "P" else image.convert(mode)
    got, kinds = to_pixels(encoded(image), 8, 3)
    assert decode.ON_WHITE in kinds
    assert (got[:, :, :4] == 0).all() and (got[:, :, 4:] == 255).all()


def test_a_palette_with_a_transparent_colour():
    image = Image.new("P", (8, 8), 1)
    image.putpalette([10, 20, 30, 40, 50, 60])
    got, kinds = to_pixels(encoded(image, transparency=1), 8, 3)
    assert kinds == (decode.ON_WHITE, decode.TO_RGB)
    assert (got == 255).all()
    got, kinds = to_pixels(encoded(image), 8, 3)
    assert kinds == (decode.TO_RGB,)
    assert got[:, 0, 0].tolist() == [40, 50, 60]


def test_half_transparent_is_mixed_with_white():
    got, _ = to_pixels(encoded(Image.new("RGBA", (8, 8), (0, 0, 0, 127))), 8, 3)
    assert (got == 128).all()


def test_cmyk_becomes_rgb():
    got, kinds = to_pixels(encoded(Image.new("CMYK", (8, 8), (255, 0, 0, 0)), "JPEG"), 8, 3)
    assert kinds == (decode.TO_RGB,)
    assert np.abs(got[:, 0, 0].astype(int) - [0, 255, 255]).max() <= 2


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
@pytest.mark.parametrize("channels", [1, 3])
def test_16_bits_are_scaled_and_not_clipped(form, channels):
    wide = np.array([[128, 129], [32896, 65535]], dtype=np.uint16)
    content = encoded(Image.fromarray(wide), form)
    got, kinds = to_pixels(content, 2, channels)
    assert kinds == ((decode.FROM_16_BIT, decode.TO_RGB) if channels == 3 else (decode.FROM_16_BIT,))
    assert got[0].tolist() == [[0, 1], [128, 255]]


def wide_png(colour_type: int, pixels: np.ndarray, clear: bytes = b"") -> bytes:
    """A PNG with 16 bits per channel, which Pillow writes only for grey images; pixels are (H, W, C)."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width, _ = pixels.shape
    header = chunk(b"IHDR", struct.pack(">2I5B", width, height, 16, colour_type, 0, 0, 0))
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    transparent = chunk(b"tRNS", clear) if clear else b""
    return b"\x89PNG\r\n\x1a\n" + header + transparent + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def wide_tiff(pixels: np.ndarray) -> bytes:
    """A TIFF with 16 bits per channel; pixels are (H, W, 3)."""
    height, width, _ = pixels.shape
    entries = [(256, 1, width), (257, 1, height), (258, 3, 122), (259, 1, 1), (262, 1, 2), (273, 1, 128), (277, 1, 3)]
    entries += [(278, 1, height), (279, 1, pixels.size * 2)]
    directory = b"".join(struct.pack("<2HI", tag, 3, count) + struct.pack("<I", value) for tag, count, value in entries)
    start = struct.pack("<2sHI", b"II", 42, 8) + struct.pack("<H", len(entries)) + directory + bytes(4)
    return start + struct.pack("<3H", 16, 16, 16) + pixels.astype("<u2").tobytes()


LEVELS = np.array([[0, 255], [32896, 65279]])


@pytest.mark.parametrize(
    ("content", "others"),
    [
        (wide_png(2, np.stack([LEVELS] * 3, 2)), ()),
        (wide_png(4, np.stack([LEVELS, 0 * LEVELS + 65535], 2)), (decode.ON_WHITE, decode.TO_RGB)),
        (wide_png(6, np.stack([*[LEVELS] * 3, 0 * LEVELS + 65535], 2)), (decode.ON_WHITE, decode.TO_RGB)),
        (wide_tiff(np.stack([LEVELS] * 3, 2)), ()),
    ],
    ids=["RGB", "grey and alpha", "RGBA", "TIFF"],
)
def test_16_bits_of_several_channels_are_counted_too(content, others):
    got, kinds = to_pixels(content, 2, 3)
    assert set(kinds) == {decode.FROM_16_BIT, *others}
    assert expected_conversions(content, 2, 3) == kinds
    assert np.abs(got - LEVELS / 257).max() <= 1


def test_a_transparent_shade_of_16_bits():
    shades = np.array([[[128], [129]], [[65535], [32896]]])
    got, kinds = to_pixels(wide_png(0, shades, struct.pack(">H", 128)), 2, 1)
    assert kinds == (decode.FROM_16_BIT, decode.ON_WHITE)
    assert got[0].tolist() == [[255, 1], [255, 128]]


def test_8_bits_stored_as_16_come_back_exactly():
    levels = np.arange(256, dtype=np.uint16).reshape(16, 16)
    assert np.array_equal(to_pixels(encoded(Image.fromarray(levels * 257)), 16, 1)[0][0], levels)


def test_black_and_white():
    got, kinds = to_pixels(encoded(Image.new("1", (8, 8), 1)), 8, 1)
    assert kinds == (decode.TO_GREY,) and (got == 255).all()


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_of_an_animation_counts(form):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    content = encoded(frames[0], form, save_all=True, append_images=frames[1:])
    got, kinds = to_pixels(content, 8, 3)
    assert kinds[0] == decode.FIRST_FRAME
    assert np.abs(got[:, 0, 0].astype(int) - [255, 0, 0]).max() <= 2


def test_content_decides_over_the_name_and_other_formats_are_refused():
    assert to_pixels(encoded(Image.new("RGB", (8, 8)), "JPEG"), 8, 3)[1] == ()
    with pytest.raises(BadImage, match="not an image"):
        to_pixels(encoded(Image.new("RGB", (8, 8)), "TGA"), 8, 3)


@pytest.mark.parametrize(("mode", "message"), [("I", "signed pixels"), ("F", "32-bit pixels")])
def test_32_bits_are_refused(mode, message):
    with pytest.raises(BadImage, match=message):
        to_pixels(encoded(Image.new(mode, (8, 8)), "TIFF"), 8, 3)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "JPEG2000"])
def test_damaged_files_raise_nothing_but_bad_image(form):
    rng = np.random.default_rng(0)
    content = encoded(Image.fromarray(random(24, 24, 3)), form)
    for _ in range(60):
        broken = bytearray(content[: rng.integers(1, len(content) + 1)])
        for at in rng.integers(0, len(broken), 3):
            broken[at] = rng.integers(0, 256)
        for function in (lambda c: to_pixels(c, 8, 3), lambda c: expected_conversions(c, 8, 3), inspect_image):
            try:
                function(bytes(broken))
            except BadImage as error:
                assert 0 < len(str(error)) < 120 and "\n" not in str(error)


def test_the_header_tells_the_conversions():
    image = Image.new("LA", (20, 10))
    content = encoded(image)
    assert expected_conversions(content[:60], 8, 3) == to_pixels(content, 8, 3)[1]
    with pytest.raises(BadImage):
        expected_conversions(content[:10], 8, 3)


def test_a_png_with_one_wrong_bit_is_refused():
    """Pillow does not check the checksum of the pixels."""
    content = bytearray(encoded(Image.fromarray(random(24, 24, 3)), "PNG"))
    at = content.index(b"IDAT") + 40
    assert to_pixels(bytes(content), 24, 3)[1] == ()
    content[at] ^= 4
    for read in (inspect_image, lambda content: to_pixels(content, 24, 3)):
        with pytest.raises(BadImage, match="damaged: wrong checksum of its IDAT block"):
            read(bytes(content))
