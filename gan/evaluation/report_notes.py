"""Notes of an evaluation's report on its sets of images"""

from collections.abc import Iterator, Mapping
from typing import Any

from gan.utils.counted import counted


def reference_notes(reference: Mapping[str, Any]) -> Iterator[str]:
    """Notes on the real images: conversions, ignored files, assumptions."""
    by_size = reference.get("conversions_by_size") or {"": reference["conversions"]}
    for size, conversions in by_size.items():
        if conversions:
            kinds = ", ".join(f"{count:,} {kind}" for kind, count in conversions.items())
            at_size = f" at {size}" if len(by_size) > 1 else ""
            yield f"Of the {counted(reference['images'], 'real image')}{at_size}: {kinds}."
    yield from (f"{reference['name']}: {note}" for note in reference.get("notes", ()))


def set_notes(row: Mapping[str, Any]) -> Iterator[str]:
    """Notes on a scored set of images: conversions, ignored files, assumptions."""
    if row.get("conversions"):
        yield ", ".join(f"{counted(count, 'image')} {kind}" for kind, count in row["conversions"].items())
    yield from row.get("notes", ())
