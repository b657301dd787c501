"""Write generated images as a zip, a folder or an animation; `gan.sampling.grids` writes grids"""

import math
import re
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from gan.data.png_zip import PngSetWriter, encode_png, to_pil, zip_entries
from gan.errors import UsageError
from gan.sampling.grids import grid_padding, image_grid
from gan.utils.counted import counted
from gan.utils.files import atomic_folder, atomic_write
from gan.utils.progress import working

LabelledBatches = Iterable[tuple[Tensor, Tensor | None]]
"""Images uint8 (N, C, H, W) and their labels int64 (N,), or None if unlabelled."""

ANIMATION_LIMITS = {".gif": 65_535, ".webp": 16_383}
"""Formats of animations, and the largest width and height of each, in pixels."""

_FRAME_MS = 50
_WRITTEN = re.compile(r"\d{8}\.png|dataset\.json|\.DS_Store|Thumbs\.db")  # the last two are of file managers


def write_zip(path: Path, batches: LabelledBatches, classes: Sequence[str]) -> None:
    """Write a zip of PNGs, with `dataset.json` if there are classes. The same images give the same bytes."""
    with atomic_write(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        _write_pngs(PngSetWriter(zip_entries(archive)), batches, classes)


def write_folder(path: Path, batches: LabelledBatches, classes: Sequence[str], *, overwrite: bool = False) -> None:
    """Write a folder of PNGs, with `dataset.json` if there are classes; `overwrite` replaces an older folder."""
    with atomic_folder(path, overwrite=overwrite) as folder:
        _write_pngs(PngSetWriter(lambda name, content: (folder / name).write_bytes(content)), batches, classes)


def other_files(folder: Path) -> list[str]:
    """Names of the entries of a folder that `write_folder` does not write."""
    return sorted(path.name for path in folder.iterdir() if path.is_dir() or not _WRITTEN.fullmatch(path.name))


def _write_pngs(writer: PngSetWriter, batches: LabelledBatches, classes: Sequence[str]) -> None:
    """Write each image under its index, then the labels."""
    index = 0
    for images, labels in batches:
        for place, image in enumerate(images):
            writer.add(f"{index:08d}.png", encode_png(image), None if labels is None else int(labels[place]))
            index += 1
    if classes:
        writer.write_labels(classes)


def write_animation(path: Path, sequences: Sequence[Tensor], columns: int) -> None:
    """Write sequences of frames (F, C, H, W), shown side by side, as an animation that repeats."""
    with working(f"writing {path}"), atomic_write(path) as file:
        frames = [to_pil(image_grid(torch.stack(images), columns)) for images in zip(*sequences, strict=True)]
        options = {"save_all": True, "append_images": frames[1:], "duration": _FRAME_MS, "loop": 0}
        frames[0].save(file, path.suffix[1:].upper(), **options)


def check_animation_size(path: Path, count: int, columns: int, side: int) -> None:
    """Raise a UsageError if a grid of `count` images of this side is too large for the format of an animation."""
    width = min(columns, count)
    padding = grid_padding(side)
    largest = max(width, math.ceil(count / width)) * (side + padding) + padding
    limit = ANIMATION_LIMITS[path.suffix.lower()]
    if largest > limit:
        raise UsageError(
            f"{path}: {counted(count, 'walk')} in {counted(width, 'column')} would be {largest:,} pixels wide "
            f"or high, the limit of {path.suffix} is {limit:,}; give a smaller --num or another --grid"
        )
