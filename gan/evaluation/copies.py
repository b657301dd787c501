"""Metric `copies` of a report: held-out images, and grids of generated images above their nearest real ones"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gan.data.datasets import require_images
from gan.data.image_set import ImageSet
from gan.data.loading import load_images
from gan.distributed import collectives, process_group
from gan.errors import UsageError
from gan.evaluation.image_streams import READ_CHUNK, image_set_stream
from gan.evaluation.options import EvaluationOptions
from gan.evaluation.report_folder import IMAGES_FOLDER
from gan.metrics.authenticity import nearest_in
from gan.metrics.copies import HeldOut
from gan.metrics.extractor import Extractor
from gan.metrics.feature_pass import ImageStream, keeping_images
from gan.metrics.score import measure_reference
from gan.report.document import Figure
from gan.sampling.grids import save_class_grid
from gan.utils.progress import progress

Shape = tuple[int, int]  # resolution and channels

_ROWS = ("generated", "nearest in features", "nearest in pixels")
_BLOCK_VALUES = 2**23  # pixel values of real images that are compared at a time, 64 MiB in float64


class HeldOutSets:
    """The images of `--held-out` in each size of the real images; empty without the option."""

    def __init__(
        self, options: EvaluationOptions, data: str | None, real: Mapping[Shape, ImageSet], data_root: Path
    ) -> None:
        """Load the images: the test split of a set that has splits, else the whole set.

        Raises:
            UsageError: there are no such images, or they are the training images.
            UserError: they cannot be used.
        """
        self.images: dict[Shape, ImageSet] = {}
        self._name = name = options.held_out
        self._measured: dict[Shape, HeldOut] = {}
        if name is None:
            return
        require_images(name, "--held-out")
        for (side, channels), training in real.items():
            images = load_images(
                name,
                resolution=side,
                channels=channels,
                data_root=data_root,
                split="test",
                skip_bad_images=options.skip_bad_images,
            )
            if images.fingerprint == training.fingerprint:
                raise UsageError(
                    f"--held-out {name}: the same images as --data {data}; name real images that were not trained on"
                )
            self.images[side, channels] = images

    def measured(self, shape: Shape, extractor: Extractor) -> HeldOut | None:
        """The images of a size with their features, extracted once; None without the option. All ranks call it."""
        if self._name is None:
            return None
        if shape not in self._measured:
            stream = image_set_stream(self.images[shape], self._name)
            self._measured[shape] = HeldOut(measure_reference(stream, extractor, ("copies",)))
        return self._measured[shape]


def copy_pictures(result: dict[str, Any], stream: ImageStream, real: ImageSet) -> dict[str, Tensor]:
    """Read the images of `result["copies"]` again, and find their nearest real images in pixels too.

    All ranks call it. The index of that image is added to each entry of the lists as `real_in_pixels`.

    Args:
        result: scores of the stream, from `score`; empty on ranks other than 0.
        stream: the scored images.

    Returns:
        For `chosen` and `most`, n images, their nearest real images in features, and those in pixels, uint8
        (3n, C, H, W). It is empty on ranks other than 0.
    """
    lists: dict[str, list[dict[str, Any]]] = collectives.on_rank0(lambda: result["copies"])
    indices = torch.tensor(sorted({image["image"] for images in lists.values() for image in images}))
    kept: list[Tensor] = []
    with progress("reading the images that are shown", int(indices[-1]) + 1) as advance:
        for batch in keeping_images(stream, indices, kept).batches():
            advance(len(batch))
            if sum(map(len, kept)) == len(indices):
                break
    if not process_group.is_rank0():
        return {}
    generated = torch.cat(kept)
    in_pixels = _nearest_in_pixels(real, generated)
    pictures = {}
    for name, images in lists.items():
        rows = torch.searchsorted(indices, torch.tensor([image["image"] for image in images]))
        for image, row in zip(images, rows.tolist(), strict=True):
            image["real_in_pixels"] = int(in_pixels[row])
        in_features = real.fetch(torch.tensor([image["real"] for image in images]))
        pictures[name] = torch.cat((generated[rows], in_features, real.fetch(in_pixels[rows])))
    return pictures


def _nearest_in_pixels(real: ImageSet, images: Tensor) -> Tensor:
    """Index of the real image with the smallest distance in pixel values to each image, int64 (M,)."""
    values = images[0].numel()
    chunk = max(1, min(READ_CHUNK, _BLOCK_VALUES // values))

    def blocks() -> Iterator[Tensor]:
        with progress("nearest real images in pixels", len(real)) as advance:
            for part in torch.arange(len(real)).split(chunk):
                yield real.fetch(part).flatten(1).double()
                advance(len(part))

    return nearest_in(blocks(), images.flatten(1).double()).indices


def write_copy_grids(out: Path, number: int, copies: dict[str, Any], pictures: Mapping[str, Tensor]) -> dict[str, Any]:
    """Write the grids of `copy_pictures`; return `copies` with their paths in the folder of the report, `grids`."""
    grids = {}
    for name, images in pictures.items():
        columns = len(images) // len(_ROWS)
        grids[name] = f"{IMAGES_FOLDER}/{number:03d}-{name}.png"
        labels = torch.arange(len(_ROWS)).repeat_interleave(columns)
        save_class_grid(out / grids[name], images, labels, _ROWS, columns)
    return {**copies, "grids": grids}


def copy_figures(rows: Sequence[Mapping[str, Any]], folder: Path) -> list[Figure]:
    """The figures of results in report.json: images drawn by the seed, then the most copied ones, of each result."""
    figures = []
    for row in rows:
        copies, protocol = row.get("copies", {}), row["protocol"]
        below = f"below them the nearest real images in {protocol['extractor']} features and in pixels"
        for name, path in copies.get("grids", {}).items():
            if name == "chosen":
                what = f"{len(copies[name])} images drawn by seed {protocol['seed']}; {below}"
            else:
                ratios = [image["ratio"] for image in copies[name]]
                what = (
                    f"the {len(ratios)} most copied of {protocol['generated_count']:,} images; {below}. Distance to "
                    "the nearest real image in features, divided by the distance of that to its own nearest: "
                    f"{_ratio(ratios[0])} (left) to {_ratio(ratios[-1])} (right)"
                )
            alt = f"Generated images of {row['name']} above their nearest real images, in a grid"
            figures.append(Figure(alt, f"{row['name']}: {what}", folder / path))
    return [figure for figure in figures if figure.path and figure.path.exists()]


def _ratio(value: float | None) -> str:
    return "∞" if value is None else f"{value:.2f}"


def copy_notes(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Notes that explain AuthPct and C_T, if results in report.json have them."""
    notes = []
    measured = [row for row in results if "auth_pct" in row]
    if measured:
        baseline = measured[0].get("auth_pct_held_out")
        new = "new images of the same distribution about 33 to 50 %"
        if baseline is not None:
            new = f"the held-out real images {baseline:.1f} %"
        notes.append(
            "Authentic: images farther from their nearest real image than that image is from its own nearest real "
            f"image. Exact copies score 0 %, {new}, images unlike the real ones 100 %: a higher value is not better."
        )
    if any("ct" in row for row in measured):
        notes.append(
            "C_T: below −3 images are nearer to the real images than the held-out ones are (copying); above 3 they "
            "are farther."
        )
    return notes
