"""Select and label the files of a folder or zip: the split, class sub-folders, `dataset.json`."""

import json
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gan.data.source import Note, list_names, normalized_name, printable_name
from gan.data.splits import shared_folder, split_folder, split_words, sub_folder, unused_splits
from gan.errors import UserError
from gan.utils.counted import counted

_TABLE = "dataset.json"
_MAX_LISTED = 5  # names in a message
MAX_CLASSES = 100_000  # a larger number in dataset.json is an error, and would need a list of names of that length


@dataclass(frozen=True)
class LabelledSelection:
    """Numbers of the selected names, their labels (int64) or None, and the class names."""

    indices: tuple[int, ...]
    labels: NDArray[np.int64] | None
    classes: tuple[str, ...]
    split_folder: str | None
    """The folder that was selected as the split; None if the sub-folders are not splits."""
    notes: tuple[Note, ...]
    """Notes on the split, the class folders and the labels."""


def select_and_label(
    names: Sequence[str],
    tables: Sequence[str],
    read_table: Callable[[str], bytes],
    *,
    split: str,
    where: str,
    others: Sequence[str] = (),
) -> LabelledSelection:
    """Select the images of a split, and derive their labels.

    Folders common to all names are ignored. If the sub-folders below them are splits (such as `train` and `test`, in
    any spelling that `gan.data.splits` knows), the images of `split` are selected; a validation split replaces a
    missing `test`.
    Labels come from a `dataset.json` above all selected images, otherwise from the sub-folders: each is a class.

    Args:
        names: relative names of the images, sorted, with `/` as separator.
        tables: relative names of the `dataset.json` files.
        read_table: returns the content of one of them.
        where: the source's name, for messages.
        others: relative names of visible files that are not images, and of folders, which end in `/`.

    Raises:
        UserError: the sub-folders are splits without the requested one; or `dataset.json` is malformed, has no label
            for some images, or two for one.
    """
    notes: list[Note] = []
    top = shared_folder(names)
    folder = split_folder([sub_folder(name, top) for name in names], split, where, notes)
    inside = top if folder is None else f"{top}{folder}/"
    indices = [index for index, name in enumerate(names) if name.startswith(inside)]
    selected = [names[index] for index in indices]
    shared = shared_folder(selected)
    notes += unused_splits(selected, shared, split if folder is None else None)
    notes += _folders_without_images(names, others, shared)
    above = [table for table in tables if shared.startswith(table.removesuffix(_TABLE))]
    used = min(above, key=len, default=None)
    if unused := [table for table in tables if table != used and table.startswith(inside)]:
        notes.append(Note(f"labels in {list_names(unused, _MAX_LISTED)} are not used: {_why_unused(used)}"))
    if used:
        start = used.removesuffix(_TABLE)
        relative = [name.removeprefix(start) for name in selected]
        every = [name.removeprefix(start) for name in names if name.startswith(start)]
        labels, classes = _labels_from_table(read_table(used), relative, every, f"{where}: {used}", notes)
        notes += _replaced_classes([sub_folder(name, shared) for name in selected], labels, used)
    else:
        labels, classes = _labels_from_folders(selected, shared, notes)
    return LabelledSelection(tuple(indices), labels, classes, folder, tuple(notes))


def _why_unused(used: str | None) -> str:
    return f"those in {used} are" if used else "it must be in a folder that contains all images"


def _labels_from_folders(
    names: Sequence[str], shared: str, notes: list[Note]
) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
    folders = [sub_folder(name, shared) for name in names]
    classes = tuple(sorted(set(folders)))
    if classes == ("",):
        return None, ()
    if "" in classes:
        in_none = f"{folders.count(''):,} of its images {'is' if folders.count('') == 1 else 'are'} in no sub-folder"
        notes.append(Note(f"{in_none}, so all {len(names):,} are treated as unlabelled"))
        return None, ()
    notes += _doubtful_classes(names, classes, shared)
    number = {name: index for index, name in enumerate(classes)}
    return np.array([number[folder] for folder in folders], dtype=np.int64), classes


def _doubtful_classes(names: Sequence[str], classes: Sequence[str], shared: str) -> Iterator[Note]:
    """Notes on folders that are used as classes, but may not be meant so."""
    if len(set(map(_composed, classes))) < len(classes):
        yield Note("names of its folders differ in their Unicode form alone; each is a class of its own")
    if split_words(classes) > 1:
        yield Note(
            f"its folders {list_names(classes, _MAX_LISTED)} are used as classes, although their names look like "
            "splits; give the path of one of them to use it alone"
        )
    inner: dict[str, set[str]] = {label: set() for label in classes}
    for name in names:
        label = sub_folder(name, shared)
        inner[label].add(sub_folder(name, f"{shared}{label}/"))
    first = inner[classes[0]]
    if len(classes) > 1 and first != {""} and all(folders == first for folders in inner.values()):
        listed = list_names(sorted(first), _MAX_LISTED)
        yield Note(f"all of its {len(classes)} classes have the same sub-folders ({listed}), which may be the classes")


def _replaced_classes(folders: Sequence[str], labels: NDArray[np.int64] | None, table: str) -> Iterator[Note]:
    """A note that a `dataset.json` replaces sub-folders that could be classes; those of numbers are parts of a set."""
    named = sorted({folder for folder in folders if folder and not folder.isdecimal()})
    if len(named) > 1:
        result = "there are none" if labels is None else "the sub-folders are no classes"
        listed = list_names(named, _MAX_LISTED)
        yield Note(f"labels are those of {table}, so {result} ({listed})", warning=labels is None)


def _folders_without_images(names: Sequence[str], others: Sequence[str], shared: str) -> Iterator[Note]:
    """A note of the sub-folders of `shared` and of the folders above it that have no images."""
    parts = shared.split("/")[:-1]
    without: set[str] = set()
    for depth in range(len(parts) + 1):
        parent = "".join(f"{part}/" for part in parts[:depth])
        found = {sub_folder(name, parent) for name in others if name.startswith(parent)} - {""}
        without |= found - {sub_folder(name, parent) for name in names if name.startswith(parent)}
    if without:
        listed = list_names(sorted(without), _MAX_LISTED)
        yield Note(f"{counted(len(without), 'sub-folder')} without images ({listed}), not used")


def _labels_from_table(
    content: bytes, names: Sequence[str], every_name: Sequence[str], where: str, notes: list[Note]
) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
    """Labels of the selected names; `every_name` has those of other splits too."""
    try:
        table: Any = json.loads(content, object_pairs_hook=lambda pairs: _without_duplicates(pairs, where))
        rows: Any = table["labels"]
    except json.JSONDecodeError as error:
        raise UserError(f"{where}: invalid JSON in line {error.lineno}, column {error.colno}: {error.msg}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{where}: not UTF-8 at byte {error.start:,}; save it in UTF-8") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f'{where}: not of the form {{"labels": [["name.png", 0], ...]}}') from error
    if rows is None:
        return None, ()
    rows_by_name: dict[str, int] = {}
    pairs = rows.items() if isinstance(rows, dict) else rows if isinstance(rows, list) else [rows]
    for pair in pairs:
        match pair:
            case (str(name), int(label)) if 0 <= label < MAX_CLASSES and not isinstance(label, bool):
                name = normalized_name(name.replace("\\", "/"))
                if rows_by_name.setdefault(name, label) != label:
                    raise UserError(f"{where}: {printable_name(name)} has two labels, {rows_by_name[name]} and {label}")
            case _:
                raise UserError(
                    f"{where}: each label must be a pair of a name and one class number from 0 to {MAX_CLASSES - 1}, "
                    f"not {printable_name(json.dumps(pair)[:80])}"
                )
    # macOS stores names in decomposed form, label files often do not; two names may differ in nothing else.
    composed = {_composed(name): label for name, label in rows_by_name.items()}
    number = {name: rows_by_name.get(name, composed.get(_composed(name))) for name in names}
    missing = [name for name in names if number[name] is None]
    if missing:
        raise UserError(
            f"{where}: has no label for {counted(len(missing), 'image')}, among them {printable_name(missing[0])}"
        )
    labels = np.array([number[name] for name in names], dtype=np.int64)
    existing = {_composed(name) for name in every_name}
    if absent := [name for name in rows_by_name if _composed(name) not in existing]:
        notes.append(
            Note(f"{counted(len(absent), 'label')} in {_TABLE} of no image ({list_names(absent, _MAX_LISTED)})")
        )
    count = int(labels.max()) + 1
    classes = table.get("classes")
    if classes is None:
        return labels, tuple(str(label) for label in range(count))
    if not (isinstance(classes, list) and all(isinstance(name, str) for name in classes) and len(classes) >= count):
        raise UserError(f'{where}: "classes" must be a list of at least {count} names, one for each class number')
    if len(set(classes)) < len(classes):
        twice = next(name for name, number in Counter(classes).items() if number > 1)
        raise UserError(f'{where}: "classes" has the name {printable_name(twice)} twice')
    return labels, tuple(classes)


def _composed(name: str) -> str:
    """The name in composed Unicode (NFC)."""
    return unicodedata.normalize("NFC", name)


def _without_duplicates(pairs: list[tuple[str, Any]], where: str) -> dict[str, Any]:
    """A JSON object; its keys must differ, of which `json` would keep the last."""
    result = dict(pairs)
    if len(result) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise UserError(f"{where}: has two entries of the name {printable_name(twice)}")
    return result
