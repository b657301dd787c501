"""Image sets known by name: scikit-learn's digits, and those that torchvision downloads."""

from __future__ import annotations

import contextlib
import hashlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gan.data.folder_source import FileSource, file_list_key
from gan.data.source import Listing, Reader, Source
from gan.errors import UsageError, UserError
from gan.utils.progress import say

Opener = Callable[[str, Path, str], Source]


@dataclass(frozen=True)
class ArraySource:
    """Images in memory: uint8 (N, H, W) or (N, H, W, 3)."""

    name: str
    kind: str
    images: NDArray[np.uint8]
    listing: Listing

    @cached_property
    def key(self) -> bytes:
        """A digest of all pixels and labels."""
        digest = hashlib.sha256(f"{self.images.shape} {self.listing.classes}".encode())
        digest.update(np.ascontiguousarray(self.images).data)
        if self.listing.labels is not None:
            digest.update(self.listing.labels.astype("<i8").tobytes())
        return digest.digest()

    @contextmanager
    def opened(self) -> Iterator[Reader]:
        """A reader of single images."""

        def read(index: int, limit: int | None = None) -> NDArray[np.uint8]:
            return self.images[index]

        yield read


def open_digits(name: str, data_root: Path, split: str) -> Source:
    """scikit-learn's 1,797 digits, 8x8, their values 0..16 stretched to 0..255. Every split is all of them."""
    # Imported here, as torchvision below: each takes seconds, and only these sets need them.
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.round(bunch.images * (255 / 16)).astype(np.uint8)
    labels = bunch.target.astype(np.int64)
    return ArraySource(name, "digits", images, _listing(len(images), labels, [str(digit) for digit in range(10)]))


@dataclass(frozen=True)
class TorchvisionDataset:
    """A set of torchvision's, downloaded on first use.

    `splits` maps a split to the arguments that torchvision wants for it, `labels` names the attribute that holds the
    labels (None: unlabelled), and `files` says what must lie in the data root for it to be found there.
    """

    dataset: str
    splits: Mapping[str, Mapping[str, Any]]
    labels: str | None
    files: str

    def __call__(self, name: str, data_root: Path, split: str) -> Source:
        """Open the set.

        Raises:
            UsageError: there is no such split.
            UserError: it is neither there nor can be downloaded.
        """
        if split not in self.splits:
            raise UsageError(f"{name} has no split {split!r}; choose one of {', '.join(self.splits)}")
        found = self._found_or_downloaded(name, data_root, split)
        images = found.data if hasattr(found, "data") else None
        if images is None:
            return _celeba(name, found)
        labels = None if self.labels is None else np.asarray(getattr(found, self.labels), dtype=np.int64)
        if labels is not None and (labels < 0).any():  # torchvision's mark for STL-10's unlabelled images
            labels = None
        pixels = np.asarray(images)
        if pixels.ndim == 4 and pixels.shape[1] == 3:
            pixels = pixels.transpose(0, 2, 3, 1)  # (N, 3, H, W) -> (N, H, W, 3)
        return ArraySource(name, "torchvision", pixels, _listing(len(pixels), labels, getattr(found, "classes", None)))

    def _found_or_downloaded(self, name: str, data_root: Path, split: str) -> Any:
        import torchvision.datasets

        make = getattr(torchvision.datasets, self.dataset)
        arguments = {"root": str(data_root), **self.splits[split]}
        # torchvision prints about its downloads to standard output, which is for results.
        with contextlib.redirect_stdout(sys.stderr):
            with contextlib.suppress(RuntimeError, OSError):
                return make(**arguments, download=False)
            say(f"downloading {name} to {data_root}")
            try:
                return make(**arguments, download=True)
            # A download fails in ways of the network, of the disk, of archives and of missing packages.
            except Exception as error:
                reason = " ".join(str(error).split())[:200] or type(error).__name__
                raise UserError(
                    f"{name} could not be downloaded ({reason}); put {self.files} into {data_root}, "
                    "or give a folder or zip of images instead"
                ) from error


def _celeba(name: str, found: Any) -> FileSource:
    """CelebA is 200,000 files and no array, so its images are read as any folder's are."""
    root = Path(found.root) / found.base_folder / "img_align_celeba"
    names = tuple(str(file) for file in found.filename)
    # Its files never change; their names, and the sizes of a few, tell one download from another.
    some = [(file, (root / file).stat().st_size if (root / file).exists() else 0, 0) for file in names[:100]]
    key = file_list_key([*some, *((file, 0, 0) for file in names[100:])])
    return FileSource(name, "torchvision", root, key, Listing(names, None, ()))


def _listing(count: int, labels: NDArray[np.int64] | None, classes: Sequence[str] | None) -> Listing:
    names = tuple(f"image {index}" for index in range(count))
    if labels is None:
        return Listing(names, None, ())
    known = tuple(classes) if classes else tuple(str(label) for label in range(int(labels.max()) + 1))
    return Listing(names, labels, known)
