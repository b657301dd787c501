"""Select and label the files of a folder or zip: splits, class sub-folders, `dataset.json`."""

import json
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gan.data.source import normalized_name, printable_name
from gan.errors import UserError
from gan.utils.progress import say

# The split that a folder's name stands for, in upper or lower case.
_SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
}
_TABLE = "dataset.json"
_MAX_CLASSES = 100_000  # a larger number in dataset.json is an error, and would need a list of names of that length


@dataclass(frozen=True)
class LabelledSelection:
    """Numbers of the selected names, their labels (int64) or None, and the class names."""

    indices: tuple[int, ...]
    labels: NDArray[np.int64] | None
    classes: tuple[str, ...]
    split_folder: str | None
    """The folder that was selected as the split; None if the sub-folders are not splits."""


def select_and_label(
    names: Sequence[str], tables: Sequence[str], read_table: Callable[[str], bytes], *, split: str, where: str
) -> LabelledSelection:
    """Select the images of a split, and derive their labels.

    Folders common to all names are ignored. If the sub-folders below them are splits (such as `train` and `test`, in
    any spelling of `_SPLIT_NAMES`), the images of `split` are selected; a validation split replaces a missing `test`.
    Folders that look like splits but cannot be used so, as others are beside them, are reported. Labels come from a
    `dataset.json` above all selected images, otherwise from the sub-folders: each is a class.

    Args:
        names: relative names of the images, sorted, with `/` as separator.
        tables: relative names of the `dataset.json` files.
        read_table: returns the content of one of them.
        where: the source's name, for messages.

    Raises:
        UserError: the sub-folders are splits without the requested one; or `dataset.json` is malformed, or has no label
            for some images.
    """
    top = _shared_folder(names)
    folder = _split_folder([_sub_folder(name, top) for name in names], split, where)
    inside = top if folder is None else f"{top}{folder}/"
    indices = [index for index, name in enumerate(names) if name.startswith(inside)]
    selected = [names[index] for index in indices]
    shared = _shared_folder(selected)
    _report_unused_splits(selected, shared, split if folder is None else None, where)
    above = [table for table in tables if shared.startswith(table.removesuffix(_TABLE))]
    if above:
        table = min(above, key=len)
        relative = [name.removeprefix(table.removesuffix(_TABLE)) for name in selected]
        labels, classes = _labels_from_table(read_table(table), relative, f"{where}: {table}")
    else:
        labels, classes = _labels_from_folders([_sub_folder(name, shared) for name in selected], where)
    return LabelledSelection(tuple(indices), labels, classes, folder)


def _split_folder(sub_folders: Sequence[str], split: str, where: str) -> str | None:
    """The sub-folder of the requested split, or None if the sub-folders are not splits."""
    folders: dict[str, list[str]] = {}  # by split
    for folder in sorted(set(sub_folders)):
        folders.setdefault(_SPLIT_NAMES.get(folder.casefold(), ""), []).append(folder)
    if "" in folders or len(folders) < 2:
        return None
    present = [folder for several in folders.values() for folder in several]
    selected = folders.get(split) or (folders.get("val") if split == "test" else None)
    if selected is None:
        raise UserError(
            f"{where}: has no split {split}, only {' and '.join(sorted(present))}; give the path of one of these "
            "folders (unpack a zip first)"
        )
    if len(selected) > 1:
        raise UserError(
            f"{where}: has several folders for the split {split}: {', '.join(selected)}; merge them, or give the path "
            "of one (unpack a zip first)"
        )
    (folder,) = selected
    others = ", ".join(sorted(set(present) - {folder}))
    missing = "" if split in folders else f" as the split {split}, which has no folder of its own"
    say(f"{where}: using its folder {folder}{missing}; ignoring {others}")
    return folder


def _report_unused_splits(names: Sequence[str], shared: str, split: str | None, where: str) -> None:
    """Report folders that look like splits although their images are all used.

    Args:
        names: relative names of the images that are used.
        shared: the folder common to them.
        split: the requested split, if no folder was selected for it.
    """
    folders = {folder for name in names for folder in name.split("/")[:-1]}
    splits = {folder: _SPLIT_NAMES[folder.casefold()] for folder in folders if folder.casefold() in _SPLIT_NAMES}
    if len(set(splits.values())) > 1:
        say(
            f"{where}: its folders {', '.join(sorted(splits))} look like splits, but are not the only ones beside each "
            "other, so all their images are used; give the path of one folder to use it alone"
        )
    elif split is not None:
        for folder in (folder for folder in shared.split("/") if splits.get(folder, split) != split):
            say(f"{where}: all its images are in a folder {folder}; they are used as the split {split}")


def _shared_folder(names: Sequence[str]) -> str:
    """The longest folder common to all names, ending in `/`, or an empty string."""
    # The first and last of the sorted names differ at least as early as any other two.
    first, last = min(names).split("/")[:-1], max(names).split("/")[:-1]
    depth = 0
    while depth < min(len(first), len(last)) and first[depth] == last[depth]:
        depth += 1
    return "".join(f"{part}/" for part in first[:depth])


def _sub_folder(name: str, shared: str) -> str:
    """The sub-folder of `shared` that contains the name, or an empty string for a name directly in `shared`."""
    folder, slash, _ = name[len(shared) :].partition("/")
    return folder if slash else ""


def _labels_from_folders(folders: Sequence[str], where: str) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
    classes = tuple(sorted(set(folders)))
    if classes == ("",):
        return None, ()
    if "" in classes:
        say(f"{where}: {folders.count(''):,} of its images are in no sub-folder, so the set is treated as unlabelled")
        return None, ()
    number = {name: index for index, name in enumerate(classes)}
    return np.array([number[folder] for folder in folders], dtype=np.int64), classes


def _labels_from_table(
    content: bytes, names: Sequence[str], where: str
) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
    try:
        table: Any = json.loads(content)
        rows: Any = table["labels"]
    except json.JSONDecodeError as error:
        raise UserError(f"{where}: invalid JSON in line {error.lineno}, column {error.colno}: {error.msg}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{where}: not UTF-8 at byte {error.start:,}; save it in UTF-8") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f'{where}: not of the form {{"labels": [["name.png", 0], ...]}}') from error
    if rows is None:
        return None, ()
    number: dict[str, int] = {}
    pairs = rows.items() if isinstance(rows, dict) else rows if isinstance(rows, list) else [rows]
    for pair in pairs:
        match pair:
            case (str(name), int(label)) if 0 <= label < _MAX_CLASSES and not isinstance(label, bool):
                number[_composed(normalized_name(name.replace("\\", "/")))] = label
            case _:
                raise UserError(
                    f"{where}: each label must be a pair of a name and one class number from 0 to {_MAX_CLASSES - 1}, "
                    f"not {printable_name(json.dumps(pair)[:80])}"
                )
    names = [_composed(name) for name in names]
    missing = [name for name in names if name not in number]
    if missing:
        raise UserError(f"{where}: has no label for {len(missing):,} images, among them {printable_name(missing[0])}")
    labels = np.array([number[name] for name in names], dtype=np.int64)
    count = int(labels.max()) + 1
    classes = table.get("classes")
    if classes is None:
        return labels, tuple(str(label) for label in range(count))
    if not (isinstance(classes, list) and all(isinstance(name, str) for name in classes) and len(classes) >= count):
        raise UserError(f'{where}: "classes" must be a list of at least {count} names, one for each class number')
    return labels, tuple(classes)


def _composed(name: str) -> str:
    """The name in composed Unicode (NFC): macOS stores names in decomposed form, label files often do not."""
    return unicodedata.normalize("NFC", name)
