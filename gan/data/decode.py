"""From an encoded file, or an array, to the pixels that a network is trained on."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from gan.data.source import BadImage, Content

RESIZED = "resized"
ENLARGED = "enlarged"
CROPPED = "cropped"
TO_RGB = "converted to RGB"
TO_GREY = "converted to grey"
FROM_16_BIT = "scaled from 16 to 8 bits"
ON_WHITE = "transparency laid on white"
TURNED = "turned as EXIF says"
FIRST_FRAME = "first frame of an animation"

# Content decides, not the name: a JPEG called .png is read, a PDF is not.
_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF", "TIFF")
_ORIENTATION = 0x0112
_PNG_DEPTH = 24  # the byte of the file that tells the bits for each channel
_TIFF_DEPTH = 258  # the tag that does
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Pillow's filters widen as an image shrinks, so neither aliases. Lanczos is what the StyleGAN and EDM tools shrink by;
# enlarged by it, sharp edges such as those of the digits echo in the background, by bicubic less.
_SHRINK = Image.Resampling.LANCZOS
_ENLARGE = Image.Resampling.BICUBIC

# Pillow warns of damaged EXIF data, and of images from 89 megapixels on (it refuses them from 179 on): noise in the
# middle of a progress bar, about images that it reads.
warnings.filterwarnings("ignore", module=r"PIL\.")


@dataclass(frozen=True)
class ImageInfo:
    """What an image is like as it lies in its file: (width, height) as shown, Pillow's name of the mode."""

    size: tuple[int, int]
    mode: str


def to_pixels(content: Content, resolution: int, channels: int) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Decode an image and bring it to `resolution` and `channels` (3: RGB, 1: grey).

    In this order: 16 bits scaled to 8 (grey ones rounded; of several channels Pillow keeps the high byte, at most one
    step away), transparency laid on white, converted to RGB or grey, turned as EXIF says,
    cropped to the central square, and that resized (Lanczos to shrink, bicubic to enlarge): what resizing the short
    side first and cropping then would give. Of an animation, the first frame counts. An image that needs none of this
    keeps every byte.

    Returns:
        uint8 (channels, resolution, resolution), and the kinds of conversion it took.

    Raises:
        BadImage: it cannot be decoded.
    """
    try:
        image = _opened(content)
        kinds = _kinds(image, content, resolution, channels)
        image.load()
        turn = _TURNS.get(_orientation(image))
        if turn and TURNED not in kinds:  # some formats keep EXIF data behind the pixels
            kinds = (TURNED, *kinds)
        pixels = np.asarray(_converted(image, turn, resolution, channels))
        pixels = pixels.reshape(resolution, resolution, channels).transpose(2, 0, 1)  # (H, W, C) -> (C, H, W)
    except BadImage:
        raise
    except MemoryError:  # says nothing about the image
        raise
    except Exception as error:  # damaged files make decoders raise almost anything
        raise BadImage(_reason(error)) from error
    return pixels, kinds


def expected_conversions(content: Content, resolution: int, channels: int) -> tuple[str, ...]:
    """The kinds of conversion `to_pixels` will take, from the header alone: the pixels are not decoded.

    Raises:
        BadImage: the header is unreadable.
    """
    try:
        return _kinds(_opened(content), content, resolution, channels)
    except BadImage:
        raise
    except Exception as error:  # as above
        raise BadImage(_reason(error)) from error


def inspect_image(content: Content) -> ImageInfo:
    """Decode an image to see that it can be, and say what it is like.

    Raises:
        BadImage: it cannot be decoded.
    """
    try:
        image = _opened(content)
        width, height = image.size
        swapped = image.format != "TIFF" and _orientation(image) >= 5  # Pillow tells a TIFF's size as shown
        image.load()
        return ImageInfo((height, width) if swapped else (width, height), image.mode)
    except BadImage:
        raise
    except MemoryError:
        raise
    except Exception as error:  # as above
        raise BadImage(_reason(error)) from error


def _opened(content: Content) -> Image.Image:
    if isinstance(content, np.ndarray):
        return Image.fromarray(content)
    if not content:
        raise BadImage("empty file")
    image = Image.open(io.BytesIO(content), formats=_FORMATS)
    if image.mode in ("I", "F"):
        # No convention says which of their values is white.
        raise BadImage("32-bit pixels; convert it to 8 or 16 bits")
    return image


def _kinds(image: Image.Image, content: Content, resolution: int, channels: int) -> tuple[str, ...]:
    kinds = []
    if getattr(image, "is_animated", False) and image.format != "MPO":  # a photo's preview is no animation
        kinds.append(FIRST_FRAME)
    if _orientation(image) in _TURNS:
        kinds.append(TURNED)
    mode = "L" if image.mode.startswith("I;16") else image.mode
    if _has_16_bits(image, content):
        kinds.append(FROM_16_BIT)
    if image.has_transparency_data:
        kinds.append(ON_WHITE)
    if mode != _mode(channels):
        kinds.append(TO_RGB if channels == 3 else TO_GREY)
    width, height = image.size
    if width != height:
        kinds.append(CROPPED)
    if min(width, height) != resolution:
        kinds.append(RESIZED if min(width, height) > resolution else ENLARGED)
    return tuple(kinds)


def _has_16_bits(image: Image.Image, content: Content) -> bool:
    """Whether the file has 16 bits for each channel: of those with several channels Pillow's mode does not tell."""
    if image.mode.startswith("I;16"):
        return True
    if isinstance(content, np.ndarray):
        return False
    if image.format == "PNG":
        return content[_PNG_DEPTH] == 16
    return image.format == "TIFF" and 16 in image.tag_v2.get(_TIFF_DEPTH, ())  # type: ignore[attr-defined]


def _mode(channels: int) -> str:
    return "RGB" if channels == 3 else "L"


def _orientation(image: Image.Image) -> int:
    # Asking for the EXIF data of a PNG that has none decodes the whole image.
    keys = ("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp")
    if image.format != "TIFF" and not any(key in image.info for key in keys):
        return 1
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # EXIF data is often damaged in images that are whole
        return 1
    return value if isinstance(value, int) else 1


def _converted(image: Image.Image, turn: Image.Transpose | None, resolution: int, channels: int) -> Image.Image:
    if image.mode.startswith("I;16"):
        wide = np.asarray(image).astype(np.uint32)
        grey = ((wide * 255 + 32767) // 65535).astype(np.uint8)
        if (clear := image.info.get("transparency")) is not None:  # one shade, which converting would forget
            grey[wide == clear] = 255
        image = Image.fromarray(grey)
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    if image.mode != _mode(channels):
        image = image.convert(_mode(channels))
    if turn is not None:
        image = image.transpose(turn)
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    if width != height:
        image = image.crop((left, top, left + side, top + side))
    if side == resolution:
        return image
    return image.resize((resolution, resolution), _SHRINK if side > resolution else _ENLARGE)


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "not an image, or damaged from the start"
    if isinstance(error, Image.DecompressionBombError):
        return f"too large, more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels"
    text = " ".join(str(error).split())
    return text[:100] if isinstance(error, OSError) and text else f"damaged ({text[:80] or type(error).__name__})"
