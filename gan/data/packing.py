"""Write a set of images as a zip of PNGs of one size."""

from __future__ import annotations

import io
import json
import zipfile
from contextlib import closing
from pathlib import Path

from PIL import Image

from gan.data.datasets import DATASETS, open_path
from gan.data.decode import to_pixels
from gan.data.source import BadImage, Reader, report_bad_images
from gan.data.thread_map import thread_map
from gan.errors import UsageError, UserError
from gan.utils.files import atomic_write
from gan.utils.progress import progress


def pack_images(
    path: Path,
    out: Path,
    *,
    resolution: int,
    channels: int = 3,
    skip_bad_images: bool = False,
    data_root: Path = Path("data"),
    split: str = "train",
) -> int:
    """Convert images as `load` does, and write them as PNGs with a `dataset.json`, in the form of StyleGAN and EDM.

    `dataset.json` holds `labels`, pairs of name and class number or null, and beside it `classes`, their names. `load`
    reads the zip back as the same images with the same labels. It is written whole or not at all, over an older one.

    Args:
        path: a folder or a zip of images, or, where there is none of this name, a name in DATASETS.
        out: the zip to write; folders above it are made.
        resolution: side of the images, pixels.
        channels: 3 (RGB) or 1 (grey).
        skip_bad_images: leave out the images that cannot be read.
        data_root: where named sets are looked for, and downloaded to.
        split: of a named set, or of a folder whose sub-folders are `train`, `test` and the like.

    Returns:
        the number of images written.

    Raises:
        UsageError: `path` or `split` does not exist, or resolution or channels are out of range.
        UserError: images cannot be read, none is left, or `out` cannot be written.
    """
    if resolution < 1 or channels not in (1, 3):
        raise UsageError(f"images have a resolution of 1 or more and 1 or 3 channels, not {resolution} and {channels}")
    if out.suffix.lower() != ".zip":
        raise UsageError(f"{out}: what is written is a zip; give it a name that ends with .zip")
    if out.exists() and path.exists() and out.samefile(path):
        raise UsageError(f"{out}: is what would be packed; give the new zip another name")
    named = None if path.exists() else DATASETS.get(str(path))
    source = named(str(path), data_root, split) if named else open_path(path, split=split)
    listing = source.listing

    def convert(run: range) -> list[bytes | BadImage]:
        with source.opened() as read:
            return [_png(read, index, resolution, channels) for index in run]

    bad: list[tuple[str, str]] = []
    rows: list[tuple[str, int]] = []
    count = len(listing.names)
    written = 0
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with (
            atomic_write(out) as file,
            zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive,
            progress("packing", count) as advance,
            closing(thread_map(convert, count)) as results,
        ):
            for index, png in enumerate(png for several in results for png in several):
                if isinstance(png, BadImage):
                    bad.append((listing.names[index], str(png)))
                else:
                    name = f"{written // 1000:05d}/img{written:08d}.png"
                    archive.writestr(zipfile.ZipInfo(name), png)  # ZipInfo: a fixed date
                    if listing.labels is not None:
                        rows.append((name, int(listing.labels[index])))
                    written += 1
                advance(1)
            report_bad_images(bad, source.name, skip=skip_bad_images)
            if not written:
                raise UserError(f"{source.name}: not one of its {count:,} images can be read")
            labelled = listing.labels is not None
            table = {"labels": rows, "classes": listing.classes} if labelled else {"labels": None}
            archive.writestr(zipfile.ZipInfo("dataset.json"), json.dumps(table))
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror or error}") from error
    return written


def _png(read: Reader, index: int, resolution: int, channels: int) -> bytes | BadImage:
    try:
        pixels, _ = to_pixels(read(index), resolution, channels)
    except BadImage as error:
        return error
    # (C, H, W) -> (H, W, C), or (H, W) for grey
    image = Image.fromarray(pixels.transpose(1, 2, 0) if channels == 3 else pixels[0])
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
