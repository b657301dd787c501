"""Describe an image set: counts, classes, sizes, modes, unreadable images."""

from pathlib import Path
from typing import Any

import numpy as np

from gan.data.datasets import open_source, require_split
from gan.data.decode import inspect_image
from gan.data.notes import listing_notes
from gan.data.source import count_conversions, count_values
from gan.data.thread_map import process_images

SHOWN_RESOLUTIONS = (32, 48, 64, 128, 256)


def describe_images(data: str, *, data_root: Path = Path("data"), split: str = "train") -> dict[str, Any]:
    """Describe an image set. Every image is decoded, so `bad` lists what `load_images` would stop at.

    Returns:
        `name` and `kind` (folder, zip, npz, digits, torchvision); `count` of readable images; `labelled`; `classes`
        (name to count); `sizes` (`WIDTHxHEIGHT` to count), `modes` (Pillow's name to count) and `conversions` (those
        that images need at any size, to count), most common first; `bad`, pairs of name and reason; `ignored`, the
        files that are not images (ending, `no ending` or `hidden` to count); `notes`, sentences about what is left out
        or assumed, and `warnings`, those that may be a mistake; `bytes`, the memory that the set needs by resolution,
        with 3 channels. It is fit for JSON.

    Raises UsageError and UserError as `load_images`, for a source that cannot be used.
    """
    source = open_source(data, data_root=data_root, split=split)
    require_split(source, split)
    listing = source.listing
    infos, bad = process_images(source, "reading", lambda read, index: inspect_image(read(index)))
    labels = None if listing.labels is None else listing.labels[list(infos)]
    counts = np.zeros(0) if labels is None else np.bincount(labels, minlength=len(listing.classes))
    notes = listing_notes(listing, labels)
    return {
        "name": data,
        "kind": source.kind,
        "count": len(infos),
        "labelled": listing.labels is not None,
        "classes": {name: int(number) for name, number in zip(listing.classes, counts, strict=True)},
        "sizes": count_values(f"{info.size[0]}x{info.size[1]}" for info in infos.values()),
        "modes": count_values(info.mode for info in infos.values()),
        "bad": [[name, reason] for name, reason in bad],
        "conversions": count_conversions(info.kinds for info in infos.values()),
        "ignored": listing.ignored,
        "notes": [note.text for note in notes],
        "warnings": [note.text for note in notes if note.warning],
        "bytes": {str(resolution): len(infos) * 3 * resolution**2 for resolution in SHOWN_RESOLUTIONS},
    }
