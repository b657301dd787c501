"""Class labels of the targets of `report --per-class`, and the checks that they match those of the real images"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from gan.data.image_set import ImageSet
from gan.data.source import list_names
from gan.errors import UserError
from gan.evaluation.targets import Target
from gan.metrics.per_class import ClassLabels

_MAX_LISTED = 5  # class names in a message


def require_labelled(entries: Iterable[Target]) -> None:
    """Raise a UserError for the first entry without classes."""
    for entry in entries:
        if entry.classes:
            continue
        if entry.kind == "checkpoint":
            raise UserError(f"--per-class: {entry.path} has an unconditional generator; its images have no classes")
        raise UserError(
            f"--per-class: {entry.path} has no labels; put each class into a sub-folder or add a dataset.json"
        )


def class_labels(entries: Sequence[Target], real: Mapping[tuple[int, int], ImageSet]) -> dict[Path, ClassLabels]:
    """Labels of the images to score of each entry and of the real images, as numbers of the real classes.

    Args:
        entries: with the number of images to score.
        real: the real images by resolution and channels.

    Returns:
        the labels by the path of the entry.

    Raises:
        UserError: an entry or its real images have no labels, or their class names differ; the order may differ.
    """
    for entry in entries:
        _require_same_classes(entry, real[entry.shape])
    return {entry.path: _labels(entry, real[entry.shape]) for entry in entries}


def _require_same_classes(entry: Target, real: ImageSet) -> None:
    if real.labels is None:
        raise UserError(f"--per-class: the real images {real.name} have no labels; name labelled ones with --data")
    require_labelled([entry])
    parts = [
        f"only {name} has {list_names(own, _MAX_LISTED)}"
        for name, own in (
            (str(entry.path), [label for label in entry.classes if label not in real.classes]),
            (real.name, [label for label in real.classes if label not in entry.classes]),
        )
        if own
    ]
    if parts:
        raise UserError(f"--per-class: {entry.path} and {real.name} have different classes: {'; '.join(parts)}")


def _labels(entry: Target, real: ImageSet) -> ClassLabels:
    generated = entry.labels(entry.count or 0)
    assert generated is not None and real.labels is not None
    numbers = np.array([real.classes.index(name) for name in entry.classes], dtype=np.int64)  # (K,)
    return ClassLabels(real.classes, real.labels.numpy(), numbers[generated.numpy()])
