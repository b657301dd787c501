"""Sets of PNGs with a `dataset.json` of their labels, in the form of the StyleGAN and EDM datasets"""

import io
import json
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image


def to_pil(pixels: ArrayLike) -> Image.Image:
    """Convert uint8 (C, H, W) to a Pillow image: greyscale for one channel, RGB for three."""
    array = np.asarray(pixels)
    return Image.fromarray(array[0] if len(array) == 1 else array.transpose(1, 2, 0))


def encode_png(pixels: ArrayLike) -> bytes:
    """Encode uint8 (C, H, W) as the bytes of a PNG file."""
    file = io.BytesIO()
    to_pil(pixels).save(file, "PNG")
    return file.getvalue()


def zip_entries(archive: zipfile.ZipFile) -> Callable[[str, bytes], object]:
    """A function that writes an entry of a zip with a fixed date, so that equal contents give equal bytes."""
    return lambda name, content: archive.writestr(zipfile.ZipInfo(name), content)


class PngSetWriter:
    """Writes PNGs, then their labels, through a function that takes a file name and its content."""

    def __init__(self, write: Callable[[str, bytes], object]) -> None:
        self._write = write
        self._labels: list[tuple[str, int]] = []

    def add(self, name: str, png: bytes, label: int | None) -> None:
        """Write an image; its label is a class number, None in an unlabelled set."""
        self._write(name, png)
        if label is not None:
            self._labels.append((name, label))

    def write_labels(self, classes: Sequence[str] | None) -> None:
        """Write `dataset.json`: `labels`, pairs of name and class number, and `classes`; None: `labels` is null."""
        table: dict[str, Any] = {"labels": None} if classes is None else {"labels": self._labels, "classes": classes}
        self._write("dataset.json", json.dumps(table).encode())
