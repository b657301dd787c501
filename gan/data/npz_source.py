"""Image source that is an npz of arrays, as samplers (ADM), MedMNIST and Keras write them."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gan.data.array_source import ArraySource, array_listing
from gan.data.labels import MAX_CLASSES
from gan.data.source import Note, list_names
from gan.data.splits import split_of_name
from gan.errors import UserError

_MAX_LISTED = 5  # arrays named in a message
_LABEL_WORDS = {"label", "labels", "y", "target", "targets"}
_STATISTICS = {"mu", "sigma", "mu_s", "sigma_s", "n", "msn_gan"}
_FORM = "an array of images is uint8 (N, H, W) or (N, H, W, 1, 3 or 4), not one picture"


def open_npz(path: Path, *, split: str) -> ArraySource:
    """Open the images of an npz: its one array uint8 (N, H, W) or (N, H, W, 1, 3 or 4), whatever its name.

    Labels are the one array of N integers, (N,) or (N, 1), that has the name of labels (`labels`, `y`, `targets`,
    `arr_1`), if there is one. Several arrays of images are splits, which words of their names tell: `train_images` and
    `test_images`, or `x_train` and `x_test`.

    Raises:
        UserError: it is not an npz, is damaged, or has no images, or several arrays of them without splits.
    """
    try:
        with np.load(path, allow_pickle=False) as entries:
            members: dict[str, NDArray[Any] | bytes] = {name: entries[name] for name in entries.files}
    except MemoryError as error:
        raise UserError(f"{path}: its arrays do not fit into memory; give a folder or zip of images") from error
    except Exception as error:  # damaged files raise almost every kind
        raise UserError(f"{path}: not an npz of images, or damaged ({error})") from error
    arrays = {name: member for name, member in members.items() if isinstance(member, np.ndarray)}
    candidates = {name: array for name, array in arrays.items() if _is_images(array)}
    if not candidates and "mu" in arrays:
        raise UserError(f"{path}: contains statistics, not images; pass reference statistics with --ref")
    if not candidates:
        raise UserError(f"{path}: contains no images; {_FORM}; it contains {_described(members)}")
    name, notes = _select(candidates, arrays, split, path)
    images = arrays.pop(name)
    images = images[..., 0] if images.ndim == 4 and images.shape[3] == 1 else images
    # Arrays of other splits were noted with their images.
    arrays = {key: array for key, array in arrays.items() if not (len(candidates) > 1 and _differs(key, name))}
    labels, label_name = _labels(arrays, name, len(images), path)
    if label_name:
        notes.append(Note(f"labels are those of its array {label_name}", warning=False))
        del arrays[label_name]
    ignored = {key: member for key, member in members.items() if key in arrays or isinstance(member, bytes)}
    if ignored:
        is_odd = bool(ignored.keys() - _STATISTICS)
        notes.append(Note(f"using its images in {name}; ignoring {_described(ignored)}", warning=is_odd))
    listing = array_listing(len(images), labels, split_folder=name if len(candidates) > 1 else None, notes=notes)
    return ArraySource(str(path), "npz", images, listing)


def _is_images(array: NDArray[Any]) -> bool:
    """True for uint8 (N, H, W) or (N, H, W, 1, 3 or 4) with at least one pixel."""
    return array.dtype == np.uint8 and _has_shape_of_images(array)


def _has_shape_of_images(array: NDArray[Any]) -> bool:
    """One picture (H, W, 3) or (3, H, W) is no set of grey ones."""
    if array.ndim == 3:
        return array.size > 0 and array.shape[2] not in (3, 4) and array.shape[0] not in (1, 3, 4)
    return array.ndim == 4 and array.size > 0 and array.shape[3] in (1, 3, 4)


def _words(name: str) -> list[str]:
    return re.split(r"[^A-Za-z]+", name)


def _split(name: str) -> str | None:
    """The split that a word of an array's name stands for."""
    return next(filter(None, map(split_of_name, _words(name))), None)


def _differs(name: str, other: str) -> bool:
    return _split(name) is not None and _split(name) != _split(other)


def _select(
    candidates: Mapping[str, NDArray[Any]], arrays: Mapping[str, NDArray[Any]], split: str, path: Path
) -> tuple[str, list[Note]]:
    """The name of the array of a split, and how it was found; a validation split replaces a missing `test`."""
    for name, array in arrays.items():
        if _split(name) == split and name not in candidates and _has_shape_of_images(array):
            raise UserError(f"{path}: its array {name} is {array.dtype}; {_FORM}")
    if len(candidates) == 1:
        (name,) = candidates
        other = _split(name) not in (None, split, "val" if split == "test" else split)
        return name, [Note(f"all its images are in {name}; they are used as the split {split}")] if other else []
    by_split: dict[str | None, str] = {_split(name): name for name in candidates}
    if None in by_split or len(by_split) < len(candidates):
        raise UserError(
            f"{path}: contains {len(candidates)} arrays of images ({list_names(sorted(candidates), _MAX_LISTED)}) "
            "that are not splits; write the one to use to an npz of its own"
        )
    found = by_split.get(split) or (by_split.get("val") if split == "test" else None)
    if found is None:
        raise UserError(f"{path}: has no split {split}, only {list_names(sorted(candidates), _MAX_LISTED)}")
    others = list_names(sorted(candidates.keys() - {found}), _MAX_LISTED)
    return found, [Note(f"using its images in {found} as the split {split}; ignoring {others}", warning=False)]


def _labels(
    arrays: Mapping[str, NDArray[Any]], images: str, count: int, path: Path
) -> tuple[NDArray[np.int64] | None, str | None]:
    """The labels, int64 (N,), and the name of their array; None if there is none.

    Raises:
        UserError: several arrays could be the labels, or a label is negative or too large.
    """
    named = {
        name: array
        for name, array in arrays.items()
        if (name == "arr_1" or _LABEL_WORDS & {word.casefold() for word in _words(name)})
        and _split(name) == _split(images)
        and array.dtype.kind in "iu"
        and array.shape in ((count,), (count, 1))
    }
    if not named:
        return None, None
    if len(named) > 1:
        raise UserError(
            f"{path}: its arrays {list_names(sorted(named), _MAX_LISTED)} could each be the labels; remove all but one"
        )
    ((name, array),) = named.items()
    if array.min() < 0 or array.max() >= MAX_CLASSES:
        raise UserError(f"{path}: labels in {name} must be from 0 to {MAX_CLASSES - 1}")
    return array.reshape(count).astype(np.int64), name


def _described(members: Mapping[str, NDArray[Any] | bytes]) -> str:
    """Names of arrays with type and shape, and of files that are no arrays."""
    forms = [
        f"{name} (no array)" if isinstance(member, bytes) else f"{name} ({member.dtype}, {member.shape})"
        for name, member in sorted(members.items())
    ]
    return list_names(forms, _MAX_LISTED) or "nothing"
