"""Which files of a folder or zip make up the set, and their labels: sub-folders, splits, `dataset.json`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gan.data.source import normalized_name, printable_name
from gan.errors import UserError
from gan.utils.progress import say

SPLITS = frozenset({"train", "test", "val", "valid", "validation"})
_STAND_INS = {"test": ("val", "valid", "validation")}  # many sets call the images that are held out so
_TABLE = "dataset.json"
_MOST_CLASSES = 100_000  # a larger number in dataset.json is no class, and would make a table of names of its size


@dataclass(frozen=True)
class LabelledSelection:
    """The numbers of the names that belong to the set, their labels (int64) or None, and the names of the classes."""

    keep: tuple[int, ...]
    labels: NDArray[np.int64] | None
    classes: tuple[str, ...]


def select_and_label(
    names: Sequence[str], tables: Sequence[str], read_table: Callable[[str], bytes], *, split: str, where: str
) -> LabelledSelection:
    """Decide what belongs to the set and how it is labelled.

    The folders that hold everything are taken off. Where the sub-folders then are splits (`train` and `test`, say),
    the images of `split` alone are taken, or those of `val`, `valid` or `validation` where there is no `test`. Of what
    is taken, a `dataset.json` above all images wins, and else sub-folders are classes.

    Args:
        names: relative names of the images, sorted, with `/` between their parts.
        tables: relative names of the `dataset.json` files.
        read_table: reads one of them.
        where: the source, for messages.

    Raises:
        UserError: the sub-folders are splits, and the one that is asked for is not among them; or `dataset.json` is
            malformed, or leaves images without a label.
    """
    keep = _of_split(names, split, where)
    kept = [names[number] for number in keep]
    shared = _shared_folder(kept)
    above = [table for table in tables if shared.startswith(table.removesuffix(_TABLE))]
    if above:
        table = min(above, key=len)
        inside = [name.removeprefix(table.removesuffix(_TABLE)) for name in kept]
        labels, classes = _from_table(read_table(table), inside, f"{where}: {table}")
    else:
        labels, classes = _from_folders([_top(name, shared) for name in kept], where)
    return LabelledSelection(tuple(keep), labels, classes)


def _of_split(names: Sequence[str], split: str, where: str) -> list[int]:
    """The numbers of the names that belong to the split: all of them, where the sub-folders are no splits."""
    shared = _shared_folder(names)
    found = [_top(name, shared) for name in names]
    splits = set(found)
    if len(splits) < 2 or not splits <= SPLITS:
        return list(range(len(names)))
    asked = (split, *_STAND_INS.get(split, ()))
    taken = next((name for name in asked if name in splits), None)
    if taken is None:
        several = " and ".join(sorted(splits))
        raise UserError(
            f"{where}: has no split {split}, only {several}; give the folder of the one that is meant (unpack a zip "
            "first)"
        )
    others = ", ".join(sorted(splits - {taken}))
    told = "the split" if taken == split else f"the split {split}, of which there is no folder"
    say(f"{where}: its folder {taken} is taken as {told}, {others} left out")
    return [number for number, top in enumerate(found) if top == taken]


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
                number[normalized_name(name)] = label
            case _:
                raise UserError(
                    f"{where}: each label must be a pair of a name and one class number from 0 to {_MOST_CLASSES - 1}, "
                    f"not {printable_name(json.dumps(pair)[:80])}"
                )
    missing = [name for name in names if name not in number]
    if missing:
        raise UserError(
            f"{where}: {len(missing):,} images have no label in it, among them {printable_name(missing[0])}"
        )
    labels = np.array([number[name] for name in names], dtype=np.int64)
    count = int(labels.max()) + 1
    classes = table.get("classes")
    if classes is None:
        return labels, tuple(str(label) for label in range(count))
    if not (isinstance(classes, list) and all(isinstance(name, str) for name in classes) and len(classes) >= count):
        raise UserError(f'{where}: "classes" must be a list of at least {count} names, one for each class number')
    return labels, tuple(classes)
