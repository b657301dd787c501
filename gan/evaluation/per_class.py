"""Class labels of the targets of `report --per-class`, and the checks that they match those of the real images"""

from collections.abc import Iterable

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


def require_same_classes(entry: Target, real: ImageSet) -> None:
    """Check that an entry has the classes of the real images, in any order.

    Raises:
        UserError: one of the two has no labels, or their class names differ.
    """
    if real.labels is None:
        raise UserError(f"--per-class: the real images {real.name} have no labels; name others with --data")
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


def labels_of(entry: Target, real: ImageSet) -> ClassLabels:
    """Labels of the images to score of an entry and of the real images, as numbers of the real classes.

    The two must have passed `require_same_classes`.
    """
    generated = entry.labels(entry.count or 0)
    assert generated is not None and real.labels is not None
    numbers = np.array([real.classes.index(name) for name in entry.classes], dtype=np.int64)  # (K,)
    return ClassLabels(real.classes, real.labels.numpy(), numbers[generated.numpy()])
