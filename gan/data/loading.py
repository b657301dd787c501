"""Load a set of images."""

from __future__ import annotations

from pathlib import Path

import torch

from gan.data import decoded_cache as kept
from gan.data.datasets import open_source
from gan.data.decode_all import Decoded, decode_all
from gan.data.image_set import ImageSet, InMemory
from gan.data.source import Source, report_bad_images
from gan.data.streamed import Streamed, scan, streamed_fingerprint
from gan.distributed import collectives, process_group
from gan.errors import UsageError, UserError
from gan.utils.memory import available_memory, format_bytes
from gan.utils.progress import say

_SHARE = 0.5  # of the available memory that a set may take; networks and the system need the rest


def load_images(
    data: str,
    *,
    resolution: int,
    channels: int,
    data_root: Path = Path("data"),
    split: str = "train",
    skip_bad_images: bool = False,
    cache: bool = True,
) -> ImageSet:
    """Load images, all of one size, into memory; a set that takes more than half of it is streamed from the disk.

    Several ranks call it together. One on each machine goes first; the others find what it has downloaded and decoded.

    Args:
        data: a name in DATASETS, or the path of a folder or zip of images.
        resolution: side of the images, pixels.
        channels: 3 (RGB) or 1 (grey).
        data_root: where named sets are looked for, and downloaded to.
        split: of a named set, or of a folder whose sub-folders are `train`, `test` and the like.
        skip_bad_images: go on without the images that cannot be read; where that shows late, in a set that is streamed,
            the next one, of the same class if there are labels, stands in for it.
        cache: keep the decoded images on disk, and take them from there.

    Returns:
        the set. Told on the way: what it takes in memory, what was converted, how many images were skipped.

    Raises:
        UsageError: `data` or `split` does not exist, or resolution or channels are out of range.
        UserError: a source cannot be used, images cannot be read, fewer than 2 are left, or ranks have other images.
    """
    # What every rank may count on, so that all of them, on whatever machine, come to the same decision.
    memory = -collectives.all_reduce_max(-(available_memory() // process_group.local_world_size()))
    images = collectives.first_local_rank_first(
        lambda: _load(data, resolution, channels, data_root, split, skip_bad_images, cache=cache, free=memory)
    )
    collectives.require_equal(images.fingerprint, f"their images of --data {data}; give every machine the same files")
    return images


def _load(
    data: str, resolution: int, channels: int, data_root: Path, split: str, skip: bool, *, cache: bool, free: int
) -> ImageSet:
    if resolution < 1 or channels not in (1, 3):
        raise UsageError(f"images have a resolution of 1 or more and 1 or 3 channels, not {resolution} and {channels}")
    source = open_source(data, data_root=data_root, split=split)
    name = data if source.kind in ("digits", "torchvision") else Path(data).resolve().name

    key = kept.decoded_cache_key(source.key, resolution, channels)
    head = kept.find_cached(key) if cache else None
    count = head.shape[0] + len(head.bad) if head else len(source.listing.names)
    size = count * channels * resolution**2
    what = f"{count:,} images at {resolution}x{resolution}x{channels}: {format_bytes(size)}"
    if size > _SHARE * free:
        say(f"{what}, more than half of the {format_bytes(free)} of memory available; streamed from the disk")
        return _streamed(source, name, resolution, channels, skip=skip)
    say(f"{what} in memory")

    decoded = kept.read_cached(head) if head else None
    if decoded is None:
        decoded = decode_all(source, resolution, channels)
        if cache and count >= kept.FEWEST:
            # Bad images do not prevent it: the next try, without them, then starts at once.
            kept.write_cached(key, decoded)
    report_bad_images(decoded.bad, source.name, skip=skip)
    return _in_memory(decoded, source, name, resolution, channels)


def _in_memory(decoded: Decoded, source: Source, name: str, resolution: int, channels: int) -> ImageSet:
    _check_count(len(decoded.pixels), source)
    _tell_conversions(decoded.conversions)
    return ImageSet(
        name=name,
        labels=None if decoded.labels is None else torch.from_numpy(decoded.labels),
        classes=decoded.classes,
        fingerprint=decoded.fingerprint,
        resolution=resolution,
        channels=channels,
        store=InMemory(torch.from_numpy(decoded.pixels)),
        conversions=decoded.conversions,
    )


def _streamed(source: Source, name: str, resolution: int, channels: int, *, skip: bool) -> ImageSet:
    numbers, conversions, bad = scan(source, resolution, channels)
    report_bad_images(bad, source.name, skip=skip)
    _check_count(len(numbers), source)
    _tell_conversions(conversions)
    listing = source.listing
    return ImageSet(
        name=name,
        labels=None if listing.labels is None else torch.from_numpy(listing.labels[numbers]),
        classes=listing.classes,
        fingerprint=streamed_fingerprint(source, numbers, resolution, channels),
        resolution=resolution,
        channels=channels,
        store=Streamed(source, numbers, resolution, channels, replace_bad=skip),
        conversions=conversions,
    )


def _check_count(count: int, source: Source) -> None:
    if count < 2:
        raise UserError(f"{source.name}: a set needs at least 2 images that can be read, this one has {count}")


def _tell_conversions(conversions: dict[str, int]) -> None:
    if conversions:
        say("converted: " + ", ".join(f"{count:,} {kind}" for kind, count in conversions.items()))
