"""Zips of images for the benchmarks."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

WriteImages = Callable[..., Path]


@pytest.fixture
def write_images(tmp_path: Path) -> WriteImages:
    """Writes a zip of random images, each in the folder of one of the classes in turn, if there are any."""
    rng = np.random.default_rng(0)

    def write(name: str, count: int, classes: str = "") -> Path:
        path = tmp_path / name
        with zipfile.ZipFile(path, "w") as archive:
            for index in range(count):
                folder = f"{classes[index % len(classes)]}/" if classes else ""
                with archive.open(f"{folder}{index}.png", "w") as file:
                    Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(file, "PNG")
        return path

    return write


@pytest.fixture
def images(write_images: WriteImages) -> Path:
    return write_images("images.zip", 12)
