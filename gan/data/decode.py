"""Decode an image file or array, and convert it to the size and channels of training."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError, features

from gan.data.file_checks import TIFF_DEPTH, TIFF_PHOTOMETRIC, WHITE_IS_ZERO, refuse_damaged_png, refuse_misread_tiff
from gan.data.source import BadImage, Content
from gan.errors import UsageError

RESIZED = "resized"
ENLARGED = "enlarged"
CROPPED = "cropped"
TO_RGB = "converted to RGB"
TO_GREY = "converted to grey"
FROM_16_BIT = "scaled from 16 to 8 bits"
ON_WHITE = "transparency laid on white"
TURNED = "turned as EXIF says"
FIRST_FRAME = "first frame of an animation"

_OF_ANY_SIZE = (FROM_16_BIT, ON_WHITE, TURNED, FIRST_FRAME)

# The content decides, not the file name: a JPEG named .png is read, a PDF is not.
_FORMATS = (
    *("PNG", "JPEG", "BMP", "DIB", "WEBP", "GIF", "TIFF", "PPM"),
    *(["AVIF"] if features.check("avif") else []),
    *(["JPEG2000"] if features.check("jpg_2000") else []),
)
_ORIENTATION = 0x0112
_PNG_DEPTH = 24  # offset of the byte that holds the bits per channel
_TIFF_STARTS = (b"II*\0", b"MM\0*")
_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Pillow's filters widen as an image shrinks, so neither aliases. The StyleGAN and EDM tools shrink with Lanczos; when
# enlarging, it rings at sharp edges, such as those of the digits, more than bicubic does.
_SHRINK = Image.Resampling.LANCZOS
_ENLARGE = Image.Resampling.BICUBIC

# Pillow warns of damaged EXIF data and of images above 89 megapixels (it refuses them above 179), but reads them; the
# warnings would disturb the progress bar.
warnings.filterwarnings("ignore", module=r"PIL\.")


@dataclass(frozen=True)
class ImageInfo:
    """Size of an image as displayed, (width, height), and the name of its mode in Pillow."""

    size: tuple[int, int]
    mode: str
    kinds: tuple[str, ...]
    """The conversions that it needs at any size and number of channels."""

    @property
    def is_grey(self) -> bool:
        """True if the mode has no colour, so that training in grey loses none."""
        return self.mode in ("1", "L", "LA", "La") or self.mode.startswith("I")


def require_image_shape(resolution: int, channels: int) -> None:
    """Raise UsageError unless the resolution is 1 or more and there are 1 or 3 channels."""
    if resolution < 1 or channels not in (1, 3):
        raise UsageError(f"images have a resolution of 1 or more and 1 or 3 channels, not {resolution} and {channels}")


def to_pixels(content: Content, resolution: int, channels: int) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Decode an image and convert it to `resolution` and `channels` (3: RGB, 1: grey).

    The steps, in order: scale 16 bits to 8 (grey: rounded; several channels: Pillow keeps the high byte, at most one
    step off), lay transparency on white, convert to RGB or grey, turn as EXIF says, crop to the central square, resize
    (Lanczos to shrink, bicubic to enlarge); resizing the short side before cropping would give the same. Only the first
    frame of an animation is used. An image that needs no step keeps every byte.

    Returns uint8 (channels, resolution, resolution), and the kinds of conversion applied. Raises BadImage if the image
    cannot be decoded.
    """
    with _decoder_errors():
        image = _open(content)
        refuse_damaged_png(image, content)
        kinds = _kinds(image, content, resolution, channels)
        image.load()
        transposition = _TRANSPOSITIONS.get(_orientation(image))
        if transposition and TURNED not in kinds:  # some formats store EXIF data behind the pixels
            kinds = (TURNED, *kinds)
        pixels = np.asarray(_convert(image, transposition, resolution, channels))
        pixels = pixels.reshape(resolution, resolution, channels).transpose(2, 0, 1)  # (H, W, C) -> (C, H, W)
        return pixels, kinds


def expected_conversions(content: Content, resolution: int, channels: int) -> tuple[str, ...]:
    """Return the kinds of conversion that `to_pixels` will apply, without decoding the pixels.

    Raises BadImage if the header is unreadable.
    """
    with _decoder_errors():
        return _kinds(_open(content), content, resolution, channels)


def inspect_image(content: Content) -> ImageInfo:
    """Decode an image, and return its size and mode. Raises BadImage if it cannot be decoded."""
    with _decoder_errors():
        image = _open(content)
        refuse_damaged_png(image, content)
        info = _info(image, content)
        image.load()
        return info


def inspect_header(content: Content) -> ImageInfo:
    """Return the size and mode that the header of an image states. Raises BadImage if it is unreadable."""
    with _decoder_errors():
        return _info(_open(content), content)


def _info(image: Image.Image, content: Content) -> ImageInfo:
    width, height = image.size
    swapped = image.format != "TIFF" and _orientation(image) >= 5  # Pillow gives a TIFF's size as displayed
    kinds = tuple(kind for kind in _kinds(image, content, min(image.size), 3) if kind in _OF_ANY_SIZE)
    return ImageInfo((height, width) if swapped else (width, height), image.mode, kinds)


@contextmanager
def _decoder_errors() -> Iterator[None]:
    """Turn any error of a decoder into BadImage: damaged files raise almost every kind."""
    try:
        yield
    except (BadImage, MemoryError):  # the latter is no fault of the image
        raise
    except Exception as error:
        raise BadImage(_reason(error)) from error


def _open(content: Content) -> Image.Image:
    if isinstance(content, np.ndarray):
        return Image.fromarray(content)
    if not content:
        raise BadImage("empty file")
    try:
        image = Image.open(io.BytesIO(content), formats=_FORMATS)
    except UnidentifiedImageError as error:
        if content[:4] in _TIFF_STARTS:
            raise BadImage("a TIFF of a form that cannot be read, or damaged; save it as PNG") from error
        raise
    if image.format == "TIFF":
        refuse_misread_tiff(image)
    if image.mode == "F" or (image.mode == "I" and image.format != "PPM"):  # that of a PGM has 16 bits
        # There is no convention for the value of white.
        raise BadImage("32-bit pixels; convert it to 8 or 16 bits")
    transparent = image.info.get("transparency")
    if image.format == "PNG" and isinstance(transparent, tuple) and _has_16_bits(image, content):
        # Pillow keeps the high bytes of the pixels, which do not tell whether a colour is the transparent one.
        raise BadImage("16-bit colours of which one is transparent; convert it to 8 bits or to an alpha channel")
    if image.format == "PNG" and image.mode == "L" and isinstance(transparent, int):
        # Pillow scales grey values of 2 or 4 bits to 8, but not the one that is transparent.
        image.info["transparency"] = transparent * 255 // (2 ** content[_PNG_DEPTH] - 1)
    return image


def _kinds(image: Image.Image, content: Content, resolution: int, channels: int) -> tuple[str, ...]:
    kinds = []
    if getattr(image, "is_animated", False) and image.format != "MPO":  # the preview in a photo is not an animation
        kinds.append(FIRST_FRAME)
    if _orientation(image) in _TRANSPOSITIONS:
        kinds.append(TURNED)
    mode = "L" if image.mode.startswith("I") else image.mode
    if _has_16_bits(image, content):
        kinds.append(FROM_16_BIT)
    if _is_transparent(image):
        kinds.append(ON_WHITE)
    if mode != _mode(channels):
        kinds.append(TO_RGB if channels == 3 else TO_GREY)
    width, height = image.size
    if width != height:
        kinds.append(CROPPED)
    if min(width, height) != resolution:
        kinds.append(RESIZED if min(width, height) > resolution else ENLARGED)
    return tuple(kinds)


def _is_transparent(image: Image.Image) -> bool:
    return image.has_transparency_data or image.mode == "La"  # grey multiplied by alpha, which Pillow leaves out


def _has_16_bits(image: Image.Image, content: Content) -> bool:
    """True if the file has 16 bits per channel, which Pillow's mode shows for grey images only."""
    if image.mode.startswith("I"):
        return True
    if isinstance(content, np.ndarray):
        return False
    if image.format == "PNG":
        return content[_PNG_DEPTH] == 16
    if image.format == "PPM":
        return any(isinstance(tile.args, tuple) and tile.args[-1] > 255 for tile in image.tile)  # type: ignore[attr-defined]
    return image.format == "TIFF" and 16 in image.tag_v2.get(TIFF_DEPTH, ())  # type: ignore[attr-defined]


def _mode(channels: int) -> str:
    return "RGB" if channels == 3 else "L"


def _orientation(image: Image.Image) -> int:
    # Reading the EXIF data of a PNG without any decodes the whole image.
    keys = ("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp")
    if image.format != "TIFF" and not any(key in image.info for key in keys):
        return 1
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # EXIF data is often damaged in otherwise intact images
        return 1
    return value if isinstance(value, int) else 1


def _convert(image: Image.Image, transposition: Image.Transpose | None, resolution: int, channels: int) -> Image.Image:
    if image.mode.startswith("I"):
        wide, white = np.asarray(image).astype(np.uint32), _white(image)
        if image.format == "TIFF" and image.tag_v2.get(TIFF_PHOTOMETRIC) == WHITE_IS_ZERO:  # type: ignore[attr-defined]
            wide = white - wide  # Pillow inverts up to 8 bits
        grey = ((wide * 255 + white // 2) // white).astype(np.uint8)
        if (transparent := image.info.get("transparency")) is not None:  # one shade, which fromarray drops
            grey[wide == transparent] = 255
        image = Image.fromarray(grey)
    elif _is_transparent(image):
        image = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    if image.mode != _mode(channels):
        image = image.convert(_mode(channels))
    if transposition is not None:
        image = image.transpose(transposition)
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    if width != height:
        image = image.crop((left, top, left + side, top + side))
    if side == resolution:
        return image
    return image.resize((resolution, resolution), _SHRINK if side > resolution else _ENLARGE)


def _white(image: Image.Image) -> int:
    """The value of white of a grey image with more than 8 bits."""
    if image.format == "TIFF":
        return 2 ** int(image.tag_v2[TIFF_DEPTH][0]) - 1  # type: ignore[attr-defined]
    return 65535


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "not an image, or its start is damaged"
    if isinstance(error, Image.DecompressionBombError):
        return f"too large, more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels"
    text = " ".join(str(error).split())
    return text[:100] if isinstance(error, OSError) and text else f"damaged ({text[:80] or type(error).__name__})"
