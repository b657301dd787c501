"""What a set of images is like, before it is trained on."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

from gan.data.datasets import open_source
from gan.data.decode import ImageInfo, inspect_image
from gan.data.source import BadImage, count_values
from gan.data.thread_map import thread_map
from gan.utils.progress import progress

SHOWN_RESOLUTIONS = (32, 48, 64, 128, 256)


def describe_images(data: str, *, data_root: Path = Path("data"), split: str = "train") -> dict[str, Any]:
    """Look at every image of a set; each is decoded, so `bad` lists what `load` would stop at.

    Returns:
        `name` and `kind` (folder, zip, digits, torchvision); `count` of readable images; `labelled`; `classes` (name to
        count); `sizes` (`WIDTHxHEIGHT` to count) and `modes` (Pillow's name to count), most common first; `bad`, pairs
        of name and reason; `bytes`, what the set takes in memory by resolution, with 3 channels. It is fit for JSON.

    Raises:
        UsageError, UserError: as `load` does for a source that cannot be used.
    """
    source = open_source(data, data_root=data_root, split=split)
    listing = source.listing
    looks: dict[int, ImageInfo] = {}
    bad: dict[int, str] = {}

    def see(run: range) -> int:
        with source.opened() as read:
            for index in run:
                try:
                    looks[index] = inspect_image(read(index))
                except BadImage as error:
                    bad[index] = str(error)
        return len(run)

    count = len(listing.names)
    with progress("looking", count) as advance, closing(thread_map(see, count)) as results:
        for done in results:
            advance(done)

    classes = dict.fromkeys(listing.classes, 0)
    if listing.labels is not None:
        for index in looks:
            classes[listing.classes[listing.labels[index]]] += 1
    return {
        "name": data,
        "kind": source.kind,
        "count": len(looks),
        "labelled": listing.labels is not None,
        "classes": classes,
        "sizes": count_values(f"{seen.size[0]}x{seen.size[1]}" for seen in looks.values()),
        "modes": count_values(seen.mode for seen in looks.values()),
        "bad": [[listing.names[index], bad[index]] for index in sorted(bad)],
        "bytes": {str(resolution): len(looks) * 3 * resolution**2 for resolution in SHOWN_RESOLUTIONS},
    }
