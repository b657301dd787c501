"""Small files in place of those that the pages name, and small networks in place of downloaded ones."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torchvision.datasets
from PIL import Image

from gan.metrics.digits import DigitsExtractor
from gan.metrics.extractors import EXTRACTORS
from tests.documentation.pages import ROOT, blocks

FOLDERS = ("cats", "theirs", "photos", "TARGET")
ZIPS = ("cats", "cats-test", "kittens", "ours", "train", "test", "cifar10-train", "cifar10-test")
_IMAGES, _CLASSES = 40, 4
_MORE_IMAGES = {"cifar10-train.zip": 80}  # a script of benchmarks/ trains with batches of 64


class Downloaded(DigitsExtractor):
    """In place of Inception and DINOv2: the digits network under their names."""

    @property
    def name(self) -> str:  # type: ignore[override]
        return self._options_name

    def __init__(self, options) -> None:  # type: ignore[no-untyped-def]
        self._options_name = options.features
        super().__init__(options)


class CIFAR10:
    """In place of torchvision's CIFAR10: 60 images in ten classes."""

    classes: ClassVar[list[str]] = [f"class {number}" for number in range(10)]

    def __init__(self, root: str, train: bool, download: bool) -> None:
        self.data = np.random.default_rng(train).integers(0, 256, (60, 32, 32, 3), dtype=np.uint8)
        self.targets = [number % 10 for number in range(60)]


def put_in_place(folder: Path, page: str, patch: pytest.MonkeyPatch) -> None:
    """Write the files that pages name, and those that a page shows, and replace what would be downloaded."""
    for number, name in enumerate((*FOLDERS, *(f"{name}.zip" for name in ZIPS))):
        where = folder / name.removesuffix(".zip") if name in FOLDERS else folder / "zipped" / name.removesuffix(".zip")
        rng = np.random.default_rng(number)
        for image in range(_MORE_IMAGES.get(name, _IMAGES)):
            path = where / f"class {image % _CLASSES}" / f"{image}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)
        if name not in FOLDERS:
            shutil.make_archive(str(folder / name.removesuffix(".zip")), "zip", where)
    shutil.rmtree(folder / "zipped")
    shutil.copy(ROOT / "examples" / "generate_onnx.py", folder)
    shutil.copy(ROOT / "examples" / "my_norm.py", folder)
    shutil.copytree(ROOT / "examples", folder / "examples")
    for block in blocks(page):
        if block.file_name:
            (folder / block.file_name).write_text(block.text, encoding="utf-8")
    patch.setattr(torchvision.datasets, "CIFAR10", CIFAR10)
    for name in ("inception", "dinov2"):
        patch.setitem(EXTRACTORS, name, Downloaded)
