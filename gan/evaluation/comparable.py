"""Checks that targets can be compared in one report, and the equal number of images to score of each"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from gan.data.image_set import ImageSet
from gan.errors import UserError
from gan.evaluation.image_streams import image_set_stream
from gan.evaluation.options import MOST_GENERATED
from gan.evaluation.targets import ImageListing, Target
from gan.metrics.feature_pass import content_hash
from gan.metrics.protocol import Protocol, require_same_protocol
from gan.metrics.score_checks import require_enough_images

HINT = "--mixed-protocols allows different protocols in one report"


def check_listings(listings: Iterable[ImageListing], num: int | None, metrics: Sequence[str], source: str = "") -> None:
    """Reject image sets by the number of their files, before any image is decoded.

    Args:
        source: the flag that set `num`, for messages; empty: --num.

    Raises:
        UserError: a set has fewer than `num` images, or too few for a metric.
    """
    for listing in listings:
        if num and num > listing.count:
            raise UserError(f"{listing.path}: has {listing.count:,} images, fewer than {source or '--num'} {num:,}")
        require_enough_images(str(listing.path), num or listing.count, metrics)


def require_same_sizes(entries: Sequence[Target], listings: Iterable[ImageListing], protocol: Protocol) -> None:
    """Raise a UserError if checkpoints and image sets have images of different sizes, by the first header of each set.

    Args:
        entries: the checkpoints.
        protocol: of the extractor.
    """
    sizes = [(entry.name, entry.resolution) for entry in entries]
    sizes += [(listing.path.name, listing.resolution) for listing in listings if listing.resolution]
    protocols = [replace(protocol, resolution=f"{side}x{side}") for _, side in sizes]
    for (name, _), other in zip(sizes, protocols, strict=True):
        require_same_protocol(protocols[0], other, (sizes[0][0], name), hint=HINT)


def images_to_score(
    entries: Sequence[Target], real: Sequence[int | None], num: int | None, *, equal: bool, source: str = ""
) -> tuple[list[int], str | None]:
    """The number of images to score of each entry, and a sentence if some entries have more images.

    Without `num` it is the size of the smallest set. A generator gives as many images as there are real ones, but no
    more than `MOST_GENERATED`.

    Args:
        real: number of real images of each entry; None if there are none.
        num: the number that the user chose.
        equal: score equal numbers; False: all images of each set.
        source: the flag that set `num`, for messages; empty: --num.

    Raises:
        UserError: a set has fewer than `num` images.
    """
    counts = [_own_count(entry, available, num, source) for entry, available in zip(entries, real, strict=True)]
    smallest, largest = min(counts), max(counts)
    if smallest == largest or not equal:
        return counts, None
    name = entries[counts.index(smallest)].name
    return [smallest] * len(counts), (
        f"{smallest:,} images of each target are scored, as {name} has no more (the largest has {largest:,})"
    )


def _own_count(entry: Target, real: int | None, num: int | None, source: str) -> int:
    if entry.count is None:
        return num or min(MOST_GENERATED, real or MOST_GENERATED)
    if num and num > entry.count:  # some of the listed images are not readable
        raise UserError(f"{entry.path}: has {entry.count:,} readable images, fewer than {source or '--num'} {num:,}")
    return num or entry.count


def require_same_protocols(
    entries: Sequence[Target], real: Mapping[tuple[int, int], ImageSet], protocol: Protocol
) -> None:
    """Check before hours of work that entries can be compared with each other; a UserError if not.

    Args:
        real: the real images by resolution and channels.
        protocol: of the extractor.
    """
    content: dict[tuple[int, int], str] = {}
    if len(real) > 1:
        content = {shape: content_hash(image_set_stream(images, images.name)) for shape, images in real.items()}
    protocols = [
        replace(
            protocol,
            generated_count=entry.count,
            resolution=f"{entry.resolution}x{entry.resolution}",
            reference_content=content.get(entry.shape),
        )
        for entry in entries
    ]
    for entry, other in zip(entries, protocols, strict=True):
        require_same_protocol(protocols[0], other, (entries[0].name, entry.name), hint=HINT)
