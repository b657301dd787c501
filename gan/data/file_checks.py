"""Refuse image files that Pillow opens, but decodes to wrong pixels."""

import struct
import zlib

import numpy as np
from PIL import Image

from gan.data.source import BadImage, Content

TIFF_DEPTH = 258  # tag with the bits per channel
TIFF_PHOTOMETRIC, WHITE_IS_ZERO, _YCBCR = 262, 0, 6  # tag with the meaning of the values
_PNG_START = 8  # offset of the first block
_PNG_CHECKED = (b"PLTE", b"tRNS", b"IDAT", b"fdAT")
_TIFF_SAMPLE_FORMAT, _SIGNED = 339, 2  # tag with the type of the values
_TIFF_COMPRESSION, _TIFF_BIT_ORDER, _TIFF_LAYOUT = 259, 266, 284  # each 1 unless stated
_TIFF_SUBSAMPLING = 530  # tag with the pixels that share a colour, horizontally and vertically


def refuse_damaged_png(image: Image.Image, content: Content) -> None:
    """Raise BadImage for a PNG with a wrong checksum of its pixels or palette, which Pillow does not check."""
    if image.format != "PNG" or isinstance(content, np.ndarray):
        return
    start, view = _PNG_START, memoryview(content)
    while start + 12 <= len(view):
        (length,) = struct.unpack_from(">I", view, start)
        kind, end = bytes(view[start + 4 : start + 8]), start + 8 + length
        if kind in _PNG_CHECKED and end + 4 <= len(view):
            if zlib.crc32(view[start + 4 : end]) != struct.unpack_from(">I", view, end)[0]:
                raise BadImage(f"damaged: wrong checksum of its {kind.decode()} block")
        start = end + 4


def refuse_misread_tiff(image: Image.Image) -> None:
    """Raise BadImage for the forms of TIFF that Pillow opens, but whose pixels come out wrong."""
    tags = image.tag_v2  # type: ignore[attr-defined]
    if _SIGNED in tags.get(_TIFF_SAMPLE_FORMAT, ()):
        raise BadImage("signed pixels, whose black and white are not defined; convert it to unsigned ones")
    uncompressed = tags.get(_TIFF_COMPRESSION, 1) == 1
    if uncompressed and tags.get(TIFF_PHOTOMETRIC) == _YCBCR and tags.get(_TIFF_SUBSAMPLING, (2, 2)) != (1, 1):
        raise BadImage("uncompressed YCbCr with fewer colour than brightness pixels; save it as RGB")
    if tags.get(_TIFF_LAYOUT, 1) == 1 or len(tags.get(TIFF_DEPTH, ())) < 2:
        return
    plain = set(tags[TIFF_DEPTH]) == {8} and tags.get(_TIFF_BIT_ORDER, 1) == 1
    if image.mode in ("LA", "La", "PA") or (uncompressed and not plain):
        raise BadImage("its channels are stored one after the other; save it with interleaved channels")
