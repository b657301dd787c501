"""The grids of an evaluation: the images of each target, and the real images"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gan.data.image_set import ImageSet
from gan.evaluation import report_folder
from gan.evaluation.copies import write_copy_grids
from gan.evaluation.image_streams import grid_indices
from gan.evaluation.report_folder import IMAGES_FOLDER
from gan.sampling.grids import save_grid

_COLUMNS = 8


@dataclass(eq=False)
class Shown:
    """The images of one target that the report shows."""

    images: list[Tensor] = field(default_factory=list)
    """Batches uint8 (B, C, H, W), for the grid."""
    copies: dict[str, Tensor] = field(default_factory=dict)
    """From `copy_pictures`, if the metric was asked for."""


def write_grids(
    out: Path, number: int, shown: Shown, real: ImageSet | None, record: dict[str, Any], result: dict[str, Any]
) -> None:
    """Write the grids of a target and, once, that of the real images; enter their paths in the folder.

    Before the first of them, an older report in the folder is removed.

    Args:
        number: of the target, from 1.
        record: content of report.json, which gets `real_grid`.
        result: the scores of the target, which get `grid` and the paths in `copies`.
    """
    if not record["results"]:
        report_folder.remove_report(out)
    result["grid"] = f"{IMAGES_FOLDER}/{number:03d}.png"
    (out / IMAGES_FOLDER).mkdir(parents=True, exist_ok=True)
    save_grid(out / result["grid"], torch.cat(shown.images), _COLUMNS)
    if shown.copies:
        result["copies"] = write_copy_grids(out, number, result["copies"], shown.copies)
    if real is not None and not record["real_grid"]:
        record["real_grid"] = f"{IMAGES_FOLDER}/real.png"
        save_grid(out / record["real_grid"], real.fetch(grid_indices(len(real), spread=True)), _COLUMNS)
