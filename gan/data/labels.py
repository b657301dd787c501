"""Which files of a folder or zip make up the set, and their labels: sub-folders, splits, `dataset.json`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gan.data.entries import shown
from gan.errors import UserError
from gan.progress import say

SPLITS = frozenset({"train", "test", "val", "valid", "validation"})
_MOST_CLASSES = 100_000  # a larger number in dataset.json is no class, and would make a table of names of its size


@dataclass(frozen=True)
class Arranged:
    """The numbers of the names that belong to the set, their labels (int64) or None, and the names of the classes."""

    keep: tuple[int, ...]
    labels: NDArray[np.int64] | None
    classes: tuple[str, ...]


def arrange(
    names: Sequence[str], tables: Sequence[str], read_table: Callable[[str], bytes], *, split: str, where: str
) -> Arranged:
    """Decide what belongs to the set and how it is labelled.

    A `dataset.json` above all images wins. Else sub-folders are classes, after the folders that hold everything are
    taken off. Where those sub-folders are splits (`train` and `test`, say), the images of `split` alone are taken.

    Args:
        names: relative names of the images, sorted, with `/` between their parts.
        tables: relative names of the `dataset.json` files.
        read_table: reads one of them.
        where: the source, for messages.

    Raises:
        UserError: `dataset.json` is malformed, or leaves images without a label.
    """
    shared = _shared_folder(names)
    above = [table for table in tables if shared.startswith(table.removesuffix("dataset.json"))]
    if above:
        table = min(above, key=len)
        inside = [name.removeprefix(table.removesuffix("dataset.json")) for name in names]
        labels, classes = _from_table(read_table(table), inside, f"{where}: {table}")
        return Arranged(tuple(range(len(names))), labels, classes)

    keep = list(range(len(names)))
    tops = {_top(name, shared) for name in names}
    if len(tops) > 1 and tops <= SPLITS and split in tops:
        others = ", ".join(sorted(tops - {split}))
        say(f"{where}: its folder {split} is taken as the split, {others} left out")
        keep = [number for number in keep if _top(names[number], shared) == split]
        shared = _shared_folder([names[number] for number in keep])
    labels, classes = _from_folders([_top(names[number], shared) for number in keep], where)
    return Arranged(tuple(keep), labels, classes)


def _shared_folder(names: Sequence[str]) -> str:
    """The longest folder that holds all names, ending in `/`, or nothing."""
    # The first and the last of sorted names differ at least as early as any other two.
    first, last = min(names).split("/")[:-1], max(names).split("/")[:-1]
    depth = 0
    while depth < min(len(first), len(last)) and first[depth] == last[depth]:
        depth += 1
    return "".join(f"{part}/" for part in first[:depth])


def _top(name: str, shared: str) -> str:
    """The sub-folder of `shared` that the name lies in, or nothing for a name straight in it."""
    top, slash, _ = name[len(shared) :].partition("/")
    return top if slash else ""


def _from_folders(tops: Sequence[str], where: str) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
    classes = tuple(sorted(set(tops)))
    if classes == ("",):
        return None, ()
    if "" in classes:
        say(f"{where}: {tops.count(''):,} of its images lie beside the sub-folders, so it is taken as unlabelled")
        return None, ()
    number = {name: index for index, name in enumerate(classes)}
    return np.array([number[top] for top in tops], dtype=np.int64), classes


def _from_table(content: bytes, names: Sequence[str], where: str) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
    try:
        table: Any = json.loads(content)
        rows: Any = table["labels"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f'{where}: not of the form {{"labels": [["name.png", 0], ...]}}') from error
    if rows is None:
        return None, ()
    number: dict[str, int] = {}
    pairs = rows.items() if isinstance(rows, dict) else rows if isinstance(rows, list) else [rows]
    for pair in pairs:
        match pair:
            case (str(name), int(label)) if 0 <= label < _MOST_CLASSES and not isinstance(label, bool):
                number[name.replace("\\", "/")] = label
            case _:
                raise UserError(
                    f"{where}: each label must be a pair of a name and one class number from 0 to {_MOST_CLASSES - 1}, "
                    f"not {shown(json.dumps(pair)[:80])}"
                )
    missing = [name for name in names if name not in number]
    if missing:
        raise UserError(f"{where}: {len(missing):,} images have no label in it, among them {shown(missing[0])}")
    labels = np.array([number[name] for name in names], dtype=np.int64)
    count = int(labels.max()) + 1
    classes = table.get("classes")
    if classes is None:
        return labels, tuple(str(label) for label in range(count))
    if not (isinstance(classes, list) and all(isinstance(name, str) for name in classes) and len(classes) >= count):
        raise UserError(f'{where}: "classes" must be a list of at least {count} names, one for each class number')
    return labels, tuple(classes)
