"""Open the image source that `--data` names, and the table of named datasets."""

from pathlib import Path

from gan.data.folder_source import open_folder
from gan.data.named_datasets import Opener, TorchvisionDataset, open_digits
from gan.data.npz_source import open_npz
from gan.data.source import Source
from gan.data.zip_source import ZipSource
from gan.errors import UsageError, UserError
from gan.utils.files import expand_home
from gan.utils.progress import warn

_TRAIN_OR_TEST = {"train": {"train": True}, "test": {"train": False}}
_BY_NAME = {"train": {"split": "train"}, "test": {"split": "test"}}

DATASETS: dict[str, Opener] = {
    "digits": open_digits,
    "mnist": TorchvisionDataset("MNIST", _TRAIN_OR_TEST, "targets", "the folder MNIST/raw with the four .gz files"),
    "fashion-mnist": TorchvisionDataset(
        "FashionMNIST", _TRAIN_OR_TEST, "targets", "the folder FashionMNIST/raw with the four .gz files"
    ),
    "cifar10": TorchvisionDataset("CIFAR10", _TRAIN_OR_TEST, "targets", "the file cifar-10-python.tar.gz"),
    "cifar100": TorchvisionDataset("CIFAR100", _TRAIN_OR_TEST, "targets", "the file cifar-100-python.tar.gz"),
    "svhn": TorchvisionDataset("SVHN", _BY_NAME, "labels", "the files train_32x32.mat and test_32x32.mat"),
    # SNGAN trains on labelled and unlabelled images together, which makes the set unlabelled.
    "stl10": TorchvisionDataset(
        "STL10",
        {"train": {"split": "train+unlabeled"}, "test": {"split": "test"}},
        "labels",
        "the file stl10_binary.tar.gz",
    ),
    "celeba": TorchvisionDataset(
        "CelebA",
        _BY_NAME,
        None,
        "the folder celeba with img_align_celeba and the five list_ and identity_ .txt files",
    ),
}

SHAPES = {
    "digits": (8, 1),
    "mnist": (28, 1),
    "fashion-mnist": (28, 1),
    "cifar10": (32, 3),
    "cifar100": (32, 3),
    "svhn": (32, 3),
    "stl10": (48, 3),  # of 96 pixels, of which SNGAN trains on half
    "celeba": (64, 3),  # of 178 by 218, of which 64 is usual
}
"""Side of the images that the named datasets are trained at, pixels, and their channels."""

# Number of classes of the training images; the other datasets are unlabelled.
_CLASSES = {"digits": 10, "mnist": 10, "fashion-mnist": 10, "cifar10": 10, "cifar100": 100, "svhn": 10}


def open_source(data: str | Path, *, data_root: Path, split: str) -> Source:
    """Open a named dataset (a key of DATASETS), or the folder, zip or npz at a path.

    Write `./digits` for a folder that has the name of a dataset. A `Path` is never the name of a dataset.

    Raises:
        UsageError: there is no such dataset or path.
        UserError: it is not a usable image source.
    """
    if isinstance(data, Path):
        return open_path(expand_home(data), split=split)
    if opener := DATASETS.get(data):
        if Path(data).exists():
            warn(f"{data}: using the dataset, not the folder of this name; write ./{data} for the folder")
        return opener(data, data_root, split)
    require_images(data, "--data")
    return open_path(expand_home(data), split=split)


def require_images(data: str, flag: str) -> None:
    """Raise a UsageError that names the flag if there is no dataset of this name, and no such folder or file."""
    if data not in DATASETS and not (data and expand_home(data).exists()):
        raise UsageError(f"{flag} {data}: no such folder, zip or npz, and not a dataset ({', '.join(DATASETS)})")


def count_classes(data: str) -> int:
    """Count the classes of a named dataset's training images, 0 without labels. Downloads nothing."""
    return _CLASSES.get(data, 0)


def require_split(source: Source, split: str) -> None:
    """Check that a split other than `train` exists: a set without splits would be used whole under a wrong name.

    Raises:
        UserError: the set has no splits.
    """
    if split != "train" and source.kind != "torchvision" and source.listing.split_folder is None:
        raise UserError(f"--split {split}: {source.name} has no splits; leave --split out to use all its images")


def open_path(path: Path, *, split: str) -> Source:
    """Open the folder, zip or npz at a path. Raises as `open_source`."""
    if not path.exists():
        raise UsageError(f"{path}: no such folder, zip or npz")
    if path.is_dir():
        return open_folder(path, split=split)
    return open_npz(path, split=split) if path.suffix.lower() == ".npz" else ZipSource(path, split=split)
