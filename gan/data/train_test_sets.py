"""The images that classifiers are trained and tested on, checked before any work is done."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gan.data import DATASETS, ImageSet, load_images
from gan.errors import UsageError, UserError

_HELD_OUT = 5  # one in so many digits is tested on
_MOST_NAMED = 5


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
    """The training images and the test images; label k means the same class in both.

    Without `test_data`, a named set is tested on its test split, a folder or zip on its sub-folder `test`, and the
    digits, which have no split, on every fifth image of each class.

    Args:
        data: a name in DATASETS, or the path of a folder or zip of images.
        resolution: side of the images, pixels.
        channels: 3 (RGB) or 1 (grey).
        test_data: the images that are tested on, as `data`.
        data_root: where named sets are looked for, and downloaded to.
        limit: train on this many images, as many of each class as there are; None: all.
        batch: images in one update, which the training set must have.
        skip_bad_images: leave out the images that cannot be read.

    Raises:
        UsageError: there are no such images, or settings that they cannot serve.
        UserError: the images cannot be used for what is asked: labels are missing, say, or classes differ.
    """
    tested = test_data or data
    if tested not in DATASETS and not Path(tested).expanduser().exists() and test_data:
        raise UsageError(f"--test-data {tested}: no such folder or zip, and none of the sets {', '.join(DATASETS)}")

    def loaded(source: str, split: str) -> ImageSet:
        options: dict[str, Any] = {"data_root": data_root, "split": split, "skip_bad_images": skip_bad_images}
        return load_images(source, resolution=resolution, channels=channels, **options)

    train = loaded(data, "train")
    _check_labels("--data", data, train)
    if tested == data == "digits":
        train, test = _held_out(train)
    else:
        test = loaded(tested, "test")
    if train.fingerprint == test.fingerprint:
        what = "" if test_data else f"{data} has no test split: "
        raise UsageError(
            f"--test-data: {what}a test on the training images says nothing; name other images of the same classes"
        )
    _check_labels("--test-data", tested, test)
    test = _with_classes_of(train, test)
    train = _limited(train, limit)
    if batch > len(train):
        raise UsageError(
            f"--batch {batch}: more than the {len(train):,} training images; use --batch {len(train)} or less"
        )
    return train, test


def _check_labels(flag: str, name: str, images: ImageSet) -> None:
    if images.labels is None:
        raise UserError(
            f"{flag} {name}: has no labels, or one class only: put each of two or more classes into a sub-folder of "
            "its own, or add a dataset.json"
        )
    present = images.labels.unique()
    if len(present) < 2:
        raise UserError(
            f"{flag} {name}: has one class only ({images.classes[present[0]]}); a classifier needs at least two"
        )


def _held_out(images: ImageSet) -> tuple[ImageSet, ImageSet]:
    """Every image but each fifth of its class, and those that are the fifth."""
    held = _rank(_labels(images)) % _HELD_OUT == _HELD_OUT - 1
    return images.part((~held).nonzero().flatten()), images.part(held.nonzero().flatten())


def _with_classes_of(train: ImageSet, test: ImageSet) -> ImageSet:
    """The test set with labels that count the classes as the training set does."""
    only_train = [name for name in train.classes if name not in test.classes]
    only_test = [name for name in test.classes if name not in train.classes]
    if only_train or only_test:
        sides = (("the training images", only_train), ("the test images", only_test))
        told = "; ".join(f"in {where} alone: {_listed(names)}" for where, names in sides if names)
        raise UserError(f"--test-data {test.name}: its classes are not those of the training images ({told})")
    number = torch.tensor([train.classes.index(name) for name in test.classes])
    return dataclasses.replace(test, labels=number[_labels(test)], classes=train.classes)


def _limited(images: ImageSet, limit: int | None) -> ImageSet:
    """The first `limit` images, as many of each class as there are; in the order of the set."""
    if limit is None or limit >= len(images):
        return images
    labels = _labels(images)
    classes = len(labels.unique())
    if limit < classes:
        raise UsageError(f"--limit {limit}: less than one image of each of the {classes} classes")
    # The first of every class, then the second of every class, ...
    chosen = torch.argsort(_rank(labels) * len(images.classes) + labels)[:limit]
    return images.part(chosen.sort().values)


def _rank(labels: Tensor) -> Tensor:
    """How many images of its own class come before each, int64 (N,)."""
    order = labels.argsort(stable=True)
    sizes = labels.bincount()
    starts = sizes.cumsum(0) - sizes
    rank = torch.empty_like(labels)
    rank[order] = torch.arange(len(labels)) - starts[labels[order]]
    return rank


def _labels(images: ImageSet) -> Tensor:
    assert images.labels is not None
    return images.labels


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more
