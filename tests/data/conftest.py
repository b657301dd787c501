from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from gan.data import decoded_cache

Paint = Callable[..., NDArray[np.uint8]]
ZipOf = Callable[..., Path]


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set the cache of decoded images to a folder in tmp_path."""
    monkeypatch.setenv("MSN_GAN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "decoded"


@pytest.fixture
def cache_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cache sets of any size."""
    monkeypatch.setattr(decoded_cache, "MIN_IMAGES", 1)


@pytest.fixture
def paint() -> Paint:
    """Writes an image of random pixels and returns them, (H, W, 3) or (H, W)."""

    def write(path: Path, seed: int = 0, *, size: tuple[int, int] = (8, 8), grey: bool = False) -> NDArray[np.uint8]:
        width, height = size
        shape = (height, width) if grey else (height, width, 3)
        pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
        return pixels

    return write


@pytest.fixture
def zip_of() -> ZipOf:
    """Zips a folder, its files in reverse order."""

    def write(folder: Path, out: Path, method: int = zipfile.ZIP_STORED) -> Path:
        with zipfile.ZipFile(out, "w", method) as archive:
            for path in sorted(folder.rglob("*"), reverse=True):
                if path.is_file():
                    archive.write(path, path.relative_to(folder).as_posix())
        return out

    return write


@pytest.fixture
def classes_folder(tmp_path: Path, paint: Paint) -> Path:
    """3 classes of 4 images, 8x8 RGB."""
    for number in range(12):
        paint(tmp_path / "set" / ("cat", "dog", "owl")[number % 3] / f"{number:02d}.png", number)
    return tmp_path / "set"
