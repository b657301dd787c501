"""From what `--data` says to a source of images."""

from __future__ import annotations

from pathlib import Path

from gan.data.folder_source import open_folder
from gan.data.named_datasets import Opener, TorchvisionDataset, open_digits
from gan.data.source import Source
from gan.data.zip_source import ZipSource
from gan.errors import UsageError

_TRAIN_OR_TEST = {"train": {"train": True}, "test": {"train": False}}

DATASETS: dict[str, Opener] = {
    "digits": open_digits,
    "mnist": TorchvisionDataset("MNIST", _TRAIN_OR_TEST, "targets", "the folder MNIST/raw with the four .gz files"),
    "fashion-mnist": TorchvisionDataset(
        "FashionMNIST", _TRAIN_OR_TEST, "targets", "the folder FashionMNIST/raw with the four .gz files"
    ),
    "cifar10": TorchvisionDataset("CIFAR10", _TRAIN_OR_TEST, "targets", "the file cifar-10-python.tar.gz"),
    "cifar100": TorchvisionDataset("CIFAR100", _TRAIN_OR_TEST, "targets", "the file cifar-100-python.tar.gz"),
    "svhn": TorchvisionDataset(
        "SVHN",
        {"train": {"split": "train"}, "test": {"split": "test"}, "extra": {"split": "extra"}},
        "labels",
        "the files train_32x32.mat and test_32x32.mat",
    ),
    # SNGAN trains on the labelled and the unlabelled images together; that makes the set unlabelled.
    "stl10": TorchvisionDataset(
        "STL10",
        {"train": {"split": "train+unlabeled"}, "test": {"split": "test"}},
        "labels",
        "the file stl10_binary.tar.gz",
    ),
    "celeba": TorchvisionDataset(
        "CelebA",
        {name: {"split": name} for name in ("train", "valid", "test", "all")},
        None,
        "the folder celeba with img_align_celeba and the five list_ and identity_ .txt files",
    ),
}

# Of the training images, where they are labelled.
_CLASSES = {"digits": 10, "mnist": 10, "fashion-mnist": 10, "cifar10": 10, "cifar100": 100, "svhn": 10}


def open_source(data: str, *, data_root: Path, split: str) -> Source:
    """The source that `data` names: one of DATASETS, else the path of a folder or a zip.

    A folder that is called like one of DATASETS is reached as `./digits`.

    Raises:
        UsageError: it is neither.
        UserError: it is no usable source of images.
    """
    if opener := DATASETS.get(data):
        return opener(data, data_root, split)
    path = Path(data).expanduser()
    if not data or not path.exists():
        raise UsageError(f"--data {data}: no such folder or zip, and none of the sets {', '.join(DATASETS)}")
    return open_path(path, split=split)


def count_classes(data: str) -> int:
    """How many classes the training images of a set have, 0 where they have no labels. Nothing is downloaded for it.

    Raises:
        UsageError, UserError: as `find` and the listing of what it finds.
    """
    if data in DATASETS:
        return _CLASSES.get(data, 0)
    return len(open_source(data, data_root=Path(), split="train").listing.classes)


def open_path(path: Path, *, split: str) -> Source:
    """The source that a path names.

    Raises:
        UsageError: there is nothing.
        UserError: it is no usable source of images.
    """
    if not path.exists():
        raise UsageError(f"{path}: no such folder or zip")
    return open_folder(path, split=split) if path.is_dir() else ZipSource(path, split=split)
