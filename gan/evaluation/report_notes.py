"""Notes of an evaluation's report on its sets of images, and on scores logged in training"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gan.evaluation.training_evaluator import logged_warnings
from gan.runs.log import read_log
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


def error_notes(record: Mapping[str, Any]) -> Iterator[str]:
    """Notes on the columns that show the error of a FID."""
    if any("fid_infinity" in row for row in record["results"]):
        yield (
            "FID∞: extrapolated to infinitely many generated images, ± half of its 95 % interval over draws of these "
            "images. The FID of N images is higher by about a constant divided by N."
        )
    if draws := record["settings"].get("repeats"):
        yield (
            f"FID SD: the standard deviation of FID over {draws} draws of latents of one generator. The spread over "
            "training seeds includes it. It is not defined for image sets."
        )


def logged_notes(results: Sequence[Mapping[str, Any]], logs: Iterable[Path]) -> list[str]:
    """Warnings about the FID that was logged during training, which a chart shows; not those of the scored targets."""
    entries = [entry for path in logs for entry in read_log(path) if "scores" in entry]
    known = {line for row in results for line in row["warnings"]}
    lines = dict.fromkeys(line for entry in entries for line in logged_warnings(entry))
    return [f"logged in training: {line}" for line in lines if line not in known]
