"""Pack images into a zip of PNGs of one size: `data pack`"""

import zipfile
from contextlib import closing
from pathlib import Path

from gan.data.datasets import open_source, require_split
from gan.data.decode import require_image_shape, to_pixels
from gan.data.notes import describe_conversions, listing_notes, say_notes
from gan.data.png_zip import PngSetWriter, encode_png, zip_entries
from gan.data.source import BadImage, Reader, count_conversions, skipped_or_error
from gan.data.thread_map import map_images
from gan.errors import UsageError, UserError
from gan.utils.counted import counted
from gan.utils.files import atomic_write, expand_home, require_new
from gan.utils.progress import say


def pack_images(
    path: str | Path,
    out: Path,
    *,
    resolution: int,
    channels: int = 3,
    skip_bad_images: bool = False,
    data_root: Path = Path("data"),
    split: str = "train",
    overwrite: bool = False,
) -> int:
    """Convert images as `load_images` does; write PNGs with a `dataset.json`, in the form of StyleGAN and EDM.

    `dataset.json` has `labels`, pairs of name and class number or null, and `classes`, the class names. `load_images`
    reads the zip back as the same images with the same labels. The write is atomic.

    Args:
        path: a folder, zip or npz of images, or a name in DATASETS. A `Path` is never a name.
        out: the zip to write; its parent folders are created.
        resolution: side of the images, pixels.
        channels: 3 (RGB) or 1 (greyscale).
        skip_bad_images: leave out images that cannot be read.
        data_root: folder of named datasets, to which they are downloaded.
        split: of a named dataset, or of a folder whose sub-folders are `train`, `test` and the like.
        overwrite: replace `out` if it exists.

    Returns:
        the number of images written.

    Raises:
        UsageError: `path` or `split` does not exist, `out` does, or resolution or channels are out of range.
        UserError: images cannot be read, none is left, or `out` cannot be written.
    """
    require_image_shape(resolution, channels)
    if out.suffix.lower() != ".zip":
        raise UsageError(f"{out}: the output is a zip; give it a name that ends with .zip")
    if out.exists() and (given := expand_home(path)).exists() and out.samefile(given):
        raise UsageError(f"{out}: is also the input; choose another name for the output")
    require_new(out, "--out", overwrite=overwrite)
    source = open_source(path, data_root=data_root, split=split)
    require_split(source, split)
    listing = source.listing
    said = listing_notes(listing)
    say_notes(source.name, said)

    bad: list[tuple[str, str]] = []
    written = 0
    conversions: list[tuple[str, ...]] = []
    readable: list[int] = []

    def convert(read: Reader, index: int) -> tuple[bytes, tuple[str, ...]]:
        pixels, kinds = to_pixels(read(index), resolution, channels)
        return encode_png(pixels), kinds

    encoded = map_images(source, "packing", convert)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with (
            atomic_write(out) as file,
            zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive,
            closing(encoded),
        ):
            writer = PngSetWriter(zip_entries(archive))
            for index, packed in enumerate(encoded):
                if isinstance(packed, BadImage):
                    bad.append((listing.names[index], str(packed)))
                    continue
                png, kinds = packed
                conversions.append(kinds)
                readable.append(index)
                label = None if listing.labels is None else int(listing.labels[index])
                writer.add(f"{written // 1000:05d}/img{written:08d}.png", png, label)
                written += 1
            if skipped := skipped_or_error(bad, source.name, skip=skip_bad_images):
                say(f"{source.name}: {skipped}")
                left = None if listing.labels is None else listing.labels[readable]
                say_notes(source.name, [note for note in listing_notes(listing, left) if note not in said])
            if not written:
                raise UserError(f"{source.name}: 0 of {counted(len(listing.names), 'image')} can be read")
            writer.write_labels(None if listing.labels is None else listing.classes)
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror or error}") from error
    if any(conversions):
        say(describe_conversions(count_conversions(conversions), resolution))
    return written
