"""Load an image set into memory, or stream it if it is too large."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from gan.data import decoded_cache
from gan.data.datasets import open_source, require_split
from gan.data.decode import require_image_shape
from gan.data.decode_all import Decoded, decode_all
from gan.data.image_set import ImageSet, InMemory, Store
from gan.data.notes import describe_conversions, listing_notes, say_notes
from gan.data.source import Note, Source, content_key, skipped_or_error
from gan.data.streamed import Streamed, scan, streamed_fingerprint
from gan.distributed import collectives, process_group
from gan.errors import UserError
from gan.utils.counted import counted
from gan.utils.memory import available_memory, format_bytes
from gan.utils.progress import say

_MAX_SHARE = 0.5  # of the available memory; networks and the system need the rest


def load_images(
    data: str | Path,
    *,
    resolution: int,
    channels: int,
    data_root: Path = Path("data"),
    split: str = "train",
    strict_split: bool = False,
    skip_bad_images: bool = False,
    cache: bool = True,
) -> ImageSet:
    """Load images, converted to one size, into memory; a set larger than half of the free memory is streamed.

    Prints the memory needed, the conversions, and what is left out or assumed. With several ranks, all call it; one on
    each machine goes first, and the others reuse its download and its decoded images.

    Args:
        data: a name in DATASETS, or the path of a folder, zip or npz of images. A `Path` is never a name.
        resolution: side of the images, pixels.
        channels: 3 (RGB) or 1 (grey).
        data_root: folder of the named datasets, also for downloads.
        split: split of a named dataset, or of a folder whose sub-folders are `train`, `test` and the like.
        strict_split: refuse a split other than `train` of a set without splits, which is used whole otherwise.
        skip_bad_images: leave out unreadable images. In a streamed set that may show only at an access; then the next
            image, of the same class if there are labels, replaces it.
        cache: use and write the cache of decoded images on disk.

    Raises:
        UsageError: `data` or `split` does not exist, or resolution or channels are out of range.
        UserError: a source cannot be used, images cannot be read, fewer than 2 are left, or the images differ between
            ranks.
    """
    # The memory that every rank has available, so that ranks on all machines decide alike.
    memory = -collectives.all_reduce_max(-(available_memory() // process_group.local_world_size()))
    images = collectives.first_local_rank_first(
        lambda: _load(
            data, resolution, channels, data_root, split, strict_split, skip_bad_images, cache=cache, free=memory
        )
    )
    collectives.require_equal(images.fingerprint, f"their images of --data {data}; give every machine the same files")
    return images


def _load(
    data: str | Path,
    resolution: int,
    channels: int,
    data_root: Path,
    split: str,
    strict_split: bool,
    skip: bool,
    *,
    cache: bool,
    free: int,
) -> ImageSet:
    require_image_shape(resolution, channels)
    source = open_source(data, data_root=data_root, split=split)
    if strict_split:
        require_split(source, split)
    said = listing_notes(source.listing)
    say_notes(source.name, said)
    count = len(source.listing.names)
    size = count * channels * resolution**2
    text = f"{counted(count, 'image')} at {resolution}x{resolution}x{channels}: {format_bytes(size)}"
    labels: NDArray[np.int64] | None
    store: Store
    if size > _MAX_SHARE * free:
        say(f"{text}, more than half of the {format_bytes(free)} of memory available; streamed from disk")
        numbers, conversions, bad = scan(source, resolution, channels)
        classes, labels = source.listing.classes, source.listing.labels
        labels = None if labels is None else labels[numbers]
        fingerprint = streamed_fingerprint(source, numbers, resolution, channels)
        store = Streamed(source, numbers, resolution, channels, replace_bad=skip)
    else:
        say(f"{text} in memory")
        decoded = _decoded(source, resolution, channels, cache=cache and count >= decoded_cache.MIN_IMAGES)
        conversions, bad = decoded.conversions, list(decoded.bad)
        classes, labels, fingerprint = decoded.classes, decoded.labels, decoded.fingerprint
        store = InMemory(torch.from_numpy(decoded.pixels))
    notes = listing_notes(source.listing, labels)
    if skipped := skipped_or_error(bad, source.name, skip=skip):
        notes += (Note(skipped),)
    say_notes(source.name, [note for note in notes if note not in said])
    if len(store) < 2:
        raise UserError(f"{source.name}: needs at least 2 images, {len(store)} can be read")
    if conversions:
        say(describe_conversions(conversions, resolution))
    return ImageSet(
        name=str(data) if source.kind in ("digits", "torchvision") else Path(data).resolve().name,
        labels=None if labels is None else torch.from_numpy(labels),
        classes=classes,
        fingerprint=fingerprint,
        resolution=resolution,
        channels=channels,
        store=store,
        conversions=conversions,
        notes=tuple(note.text for note in notes),
    )


def _decoded(source: Source, resolution: int, channels: int, *, cache: bool) -> Decoded:
    """Decode a source, or read its decoded images back from the cache."""
    if not cache:
        return decode_all(source, resolution, channels)
    key = decoded_cache.decoded_cache_key(content_key(source), resolution, channels)
    if (decoded := decoded_cache.read_cached(key)) is None:
        decoded = decode_all(source, resolution, channels)
        # Cached despite bad images: the next attempt, without them, then starts at once.
        decoded_cache.write_cached(key, decoded)
    return decoded
