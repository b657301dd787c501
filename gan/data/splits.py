"""Splits of a folder or zip, by the names of folders."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from gan.data.source import Note
from gan.errors import UserError
from gan.utils.counted import counted

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
# More words for splits, of folders that are not used as such.
_MORE_WORDS = {
    "eval": "val",
    "evaluation": "val",
    "holdout": "test",
    "unlabeled": "unlabelled",
    "unlabelled": "unlabelled",
}


def split_of_name(name: str) -> str | None:
    """The split that a folder's name stands for, in any spelling: `train`, `test` or `val`."""
    return _SPLIT_NAMES.get(name.casefold())


def split_words(names: Sequence[str]) -> int:
    """The number of different splits that words in names stand for, as in `train2017` or `eval_set`."""
    words = {word.casefold() for name in names for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)}
    return len({found for word in words if (found := split_of_name(word) or _MORE_WORDS.get(word))})


def split_folder(sub_folders: Sequence[str], split: str, where: str, notes: list[Note]) -> str | None:
    """The sub-folder of the requested split, or None if the sub-folders are not splits."""
    folders: dict[str, list[str]] = {}  # by split
    for folder in sorted(set(sub_folders)):
        folders.setdefault(split_of_name(folder) or "", []).append(folder)
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
    counts = Counter(sub_folders)
    others = ", ".join(f"{other} ({counts[other]:,})" for other in sorted(set(present) - {folder}))
    missing = "" if split in folders else f" as the split {split}, which has no folder of its own"
    used = counted(counts[folder], "image")
    notes.append(Note(f"using its folder {folder} ({used}){missing}; ignoring {others}", warning=False))
    return folder


def unused_splits(names: Sequence[str], shared: str, split: str | None) -> Iterator[Note]:
    """Notes of folders that look like splits although their images are all used.

    Args:
        names: relative names of the images that are used.
        shared: the folder common to them.
        split: the requested split, if no folder was selected for it.
    """
    folders = {folder for name in names for folder in name.split("/")[:-1]}
    splits = {folder: found for folder in folders if (found := split_of_name(folder))}
    if len(set(splits.values())) > 1:
        yield Note(
            f"its folders {', '.join(sorted(splits))} look like splits, but are not the only ones beside each other, "
            "so all their images are used; give the path of one folder to use it alone"
        )
    elif split is not None:
        for folder in (folder for folder in shared.split("/") if splits.get(folder, split) != split):
            yield Note(f"all its images are in a folder {folder}; they are used as the split {split}")


def shared_folder(names: Sequence[str]) -> str:
    """The longest folder common to all names, ending in `/`, or an empty string."""
    # The first and last of the sorted names differ at least as early as any other two.
    first, last = min(names).split("/")[:-1], max(names).split("/")[:-1]
    depth = 0
    while depth < min(len(first), len(last)) and first[depth] == last[depth]:
        depth += 1
    return "".join(f"{part}/" for part in first[:depth])


def sub_folder(name: str, shared: str) -> str:
    """The sub-folder of `shared` that contains the name, or an empty string for a name directly in `shared`."""
    folder, slash, _ = name[len(shared) :].partition("/")
    return folder if slash else ""
