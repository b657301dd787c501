"""Training and test sets for classifiers, checked before any work is done."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gan.data.datasets import require_images
from gan.data.image_set import ImageSet
from gan.data.loading import load_images
from gan.data.source import list_names
from gan.errors import UsageError, UserError
from gan.utils.counted import counted

_HELD_OUT = 5  # one digit in five is held out for the test
_MAX_LISTED = 5  # classes named in a message


def load_train_and_test(
    data: str,
    *,
    resolution: int,
    channels: int,
    test_data: str | None = None,
    data_root: Path = Path("data"),
    limit: int | None = None,
    batch: int = 1,
    skip_bad_images: bool = False,
) -> tuple[ImageSet, ImageSet]:
    """Load the training set and the test set; label k means the same class in both.

    Without `test_data`, the test images are the test split of a named dataset, the sub-folder `test` of a folder or
    zip, and every fifth image of each class of the digits, which have no split.

    Args (the others as for `load_images`):
        test_data: the test images, as `data`.
        limit: number of training images, balanced over the classes as far as possible; None: all.
        batch: batch size, which must not exceed the training set.

    Raises:
        UsageError: the images do not exist, or do not allow the limit, the batch size or a test.
        UserError: labels are missing, or the classes of the two sets differ.
    """
    test_source = test_data or data
    if test_data:
        require_images(test_data, "--test-data")

    def load(source: str, split: str) -> ImageSet:
        options: dict[str, Any] = {"data_root": data_root, "split": split, "skip_bad_images": skip_bad_images}
        return load_images(source, resolution=resolution, channels=channels, **options)

    train = load(data, "train")
    _check_labels("--data", data, train)
    if test_source == data == "digits":
        train, test = _hold_out(train)
    else:
        test = load(test_source, "test")
    if train.fingerprint == test.fingerprint:
        reason = "these are the training images" if test_data else f"{data} has no test split"
        raise UsageError(f"--test-data: {reason}; give other images of the same classes")
    _check_labels("--test-data", test_source, test)
    test = _match_classes(train, test)
    train = _limit(train, limit)
    require_full_batch(batch, len(train))
    return train, test


def _check_labels(flag: str, name: str, images: ImageSet) -> None:
    if images.labels is None:
        raise UserError(
            f"{flag} {name}: has no labels, or only one class; put each of two or more classes into a sub-folder of "
            "its own, or add a dataset.json"
        )
    present = images.labels.unique()
    if len(present) < 2:
        raise UserError(
            f"{flag} {name}: has only one class ({images.classes[present[0]]}); a classifier needs at least two"
        )


def _hold_out(images: ImageSet) -> tuple[ImageSet, ImageSet]:
    """Split off every fifth image of each class: (training set, test set)."""
    held_out = _rank_in_class(_labels(images)) % _HELD_OUT == _HELD_OUT - 1
    return images.part((~held_out).nonzero().flatten()), images.part(held_out.nonzero().flatten())


def class_numbers(classes: Sequence[str], others: Sequence[str], where: str, kind: str) -> Tensor:
    """Return the number among the training images' classes of each class of other images, int64 (K,).

    Args:
        classes: names of the training images' classes.
        others: names of the other images' classes.
        where: start of the message, such as a flag with its value.
        kind: how the message calls the other images.

    Raises:
        UserError: the classes differ; lists those that only one of the two has.
    """
    sides = {
        "training": [name for name in classes if name not in others],
        kind: [name for name in others if name not in classes],
    }
    differences = "; ".join(
        f"only in the {side} images: {list_names(names, _MAX_LISTED)}" for side, names in sides.items() if names
    )
    if differences:
        raise UserError(f"{where}: its classes differ from the training images' ({differences})")
    return torch.tensor([list(classes).index(name) for name in others])


def require_full_batch(batch: int, count: int) -> None:
    """Raise a UsageError if a batch has more than the `count` training images."""
    if batch > count:
        raise UsageError(
            f"--batch {batch}: more than the {counted(count, 'training image')}; use --batch {count} or less"
        )


def _match_classes(train: ImageSet, test: ImageSet) -> ImageSet:
    """Renumber the labels of the test set as those of the training set."""
    numbers = class_numbers(train.classes, test.classes, f"--test-data {test.name}", "test")
    return dataclasses.replace(test, labels=numbers[_labels(test)], classes=train.classes)


def _limit(images: ImageSet, limit: int | None) -> ImageSet:
    """Keep the first `limit` images, balanced over the classes as far as possible, in the order of the set."""
    if limit is None or limit >= len(images):
        return images
    labels = _labels(images)
    classes = len(labels.unique())
    if limit < classes:
        raise UsageError(f"--limit {limit}: use at least {classes}, one image of each class")
    # The first of every class, then the second of every class, ...
    selected = torch.argsort(_rank_in_class(labels) * len(images.classes) + labels)[:limit]
    return images.part(selected.sort().values)


def _rank_in_class(labels: Tensor) -> Tensor:
    """Number of earlier images of the same class, int64 (N,)."""
    order = labels.argsort(stable=True)
    sizes = labels.bincount()
    starts = sizes.cumsum(0) - sizes
    rank = torch.empty_like(labels)
    rank[order] = torch.arange(len(labels)) - starts[labels[order]]
    return rank


def _labels(images: ImageSet) -> Tensor:
    assert images.labels is not None
    return images.labels
