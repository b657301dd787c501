"""Named datasets: scikit-learn's digits, and those that torchvision downloads."""

import contextlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gan.data.array_source import ArraySource, array_listing
from gan.data.folder_source import FileSource, file_list_key
from gan.data.source import Listing, Source
from gan.errors import UsageError, UserError
from gan.utils.progress import say

Opener = Callable[[str, Path, str], Source]


def open_digits(name: str, data_root: Path, split: str) -> Source:
    """Open scikit-learn's 1,797 digits, 8x8, their values 0..16 scaled to 0..255. There are no splits."""
    # Imported here, as torchvision below: each takes seconds, and only these datasets need them.
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.round(bunch.images * (255 / 16)).astype(np.uint8)
    labels = bunch.target.astype(np.int64)
    return ArraySource(name, "digits", images, array_listing(len(images), labels, [str(digit) for digit in range(10)]))


@dataclass(frozen=True)
class TorchvisionDataset:
    """A torchvision dataset, downloaded on first use.

    `splits` maps a split to torchvision's arguments, `labels` is the name of the attribute with the labels (None:
    unlabelled), and `files` describes the files that torchvision looks for in the data root.
    """

    dataset: str
    splits: Mapping[str, Mapping[str, Any]]
    labels: str | None
    files: str

    def __call__(self, name: str, data_root: Path, split: str) -> Source:
        """Open the dataset.

        Raises:
            UsageError: it has no such split.
            UserError: it is not on disk and cannot be downloaded, or its files are damaged.
        """
        if split not in self.splits:
            raise UsageError(f"{name} has no split {split!r}; choose one of {', '.join(self.splits)}")
        dataset = self._load_or_download(name, data_root, split)
        if getattr(dataset, "data", None) is None:
            return _celeba(name, dataset)
        labels = None if self.labels is None else np.asarray(getattr(dataset, self.labels), dtype=np.int64)
        if labels is not None and (labels < 0).any():  # torchvision's mark for STL-10's unlabelled images
            labels = None
        pixels = np.asarray(dataset.data)
        if pixels.ndim == 4 and pixels.shape[1] == 3:
            pixels = pixels.transpose(0, 2, 3, 1)  # (N, 3, H, W) -> (N, H, W, 3)
        listing = array_listing(len(pixels), labels, getattr(dataset, "classes", None))
        return ArraySource(name, "torchvision", pixels, listing)

    def _load_or_download(self, name: str, data_root: Path, split: str) -> Any:
        import torchvision.datasets

        dataset_class = getattr(torchvision.datasets, self.dataset)
        arguments = {"root": str(data_root), **self.splits[split]}
        # torchvision prints download messages to standard output, which is reserved for results.
        with contextlib.redirect_stdout(sys.stderr):
            try:
                return dataset_class(**arguments, download=False)
            except (RuntimeError, OSError) as error:  # of files that are missing, or damaged
                first = _reason(error)
            except Exception as error:
                raise _damaged_error(name, data_root, _reason(error)) from error
            say(f"downloading {name} to {data_root}")
            try:
                return dataset_class(**arguments, download=True)
            # A download can fail with errors of the network, the disk, archives and missing packages.
            except Exception as error:
                reason = _reason(error)
                if reason == first:  # torchvision downloads only what is missing
                    raise _damaged_error(name, data_root, reason) from error
                raise UserError(
                    f"{name} could not be downloaded ({reason}); put {self.files} into {data_root}, "
                    "or give a folder or zip of images instead"
                ) from error


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _damaged_error(name: str, data_root: Path, reason: str) -> UserError:
    return UserError(f"{name}: its files in {data_root} cannot be read ({reason}); remove them to download them again")


def _celeba(name: str, dataset: Any) -> FileSource:
    """CelebA, which torchvision gives as 200,000 files instead of an array."""
    root = Path(dataset.root) / dataset.base_folder / "img_align_celeba"
    names = tuple(str(file) for file in dataset.filename)
    # The files never change, so their names, and the sizes of a few, identify a download.
    some = [(file, (root / file).stat().st_size if (root / file).exists() else 0, 0) for file in names[:100]]
    key = file_list_key([*some, *((file, 0, 0) for file in names[100:])])
    return FileSource(name, "torchvision", root, key, Listing(names, None, ()))
