"""Sentences about what was left out, converted or assumed when a set was read: said once, and kept for reports."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from gan.data.decode import ENLARGED, FIRST_FRAME, ON_WHITE, RESIZED
from gan.data.source import Listing, Note, list_names, printable_name
from gan.utils.counted import counted
from gan.utils.progress import is_new, warn

_MAX_LISTED = 10  # empty classes named in a message


def listing_notes(listing: Listing, labels: NDArray[np.int64] | None = None) -> tuple[Note, ...]:
    """Notes on the files, folders and labels of a set.

    Args:
        labels: of the images that can be read, int64 (N,), if they are fewer than those of the listing.
    """
    notes = list(listing.notes)
    if listing.ignored:
        kinds = ", ".join(f"{number:,} {printable_name(kind)}" for kind, number in listing.ignored.items())
        notes.append(Note(f"ignoring {counted(sum(listing.ignored.values()), 'file')} (not images: {kinds})"))
    labels = listing.labels if labels is None else labels
    if labels is not None:
        counts = np.bincount(labels, minlength=len(listing.classes))
        if empty := [name for name, count in zip(listing.classes, counts, strict=True) if not count]:
            notes.append(
                Note(
                    f"{len(empty):,} of its {counted(len(listing.classes), 'class')} "
                    f"{'has' if len(empty) == 1 else 'have'} no images "
                    f"({list_names(empty, _MAX_LISTED)}), but a conditional network has every class; "
                    "number the classes from 0 without gaps"
                )
            )
    return tuple(notes)


def say_notes(name: str, notes: Iterable[Note]) -> None:
    """Print notes with the name of the set, each once: a report may read a set in several sizes."""
    for text in (f"{name}: {note.text}" for note in notes):
        if is_new(text):
            warn(text)


def describe_conversions(conversions: dict[str, int], resolution: int) -> str:
    """The numbers of converted images by kind, as in `ImageSet.conversions`, in one line; empty if there are none."""
    texts = {
        RESIZED: f"shrunk to {resolution}×{resolution}",
        ENLARGED: f"enlarged to {resolution}×{resolution}",
        ON_WHITE: "laid on white where transparent",
        FIRST_FRAME: "reduced to the first frame",
    }
    return ", ".join(f"{counted(count, 'image')} {texts.get(kind, kind)}" for kind, count in conversions.items())
