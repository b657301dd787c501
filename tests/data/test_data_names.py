"""Any set of names survives as a folder, a zip, a dataset.json and an npz."""

from __future__ import annotations

import io
import json
import tempfile
import unicodedata
import zipfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gan.data.datasets import open_path
from gan.data.source import Listing
from gan.data.splits import split_of_name

PNG = io.BytesIO()
Image.new("L", (1, 1)).save(PNG, "PNG")


def usable(name: str) -> bool:
    """Not hidden, no split, no path, and no drive or separator of Windows, which a zip may not have."""
    return not (name.startswith((".", "__MACOSX")) or split_of_name(name) or set(name) & set("/\\\0:"))


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(usable)
SETS = st.lists(
    st.tuples(NAMES, NAMES.map(lambda name: f"{name}.png")),
    min_size=2,
    max_size=6,
    # Two names that differ in their Unicode form alone are two files on some systems, and one on others.
    unique_by=lambda pair: unicodedata.normalize("NFC", "/".join(pair)),
).filter(lambda pairs: len({folder for folder, _ in pairs}) > 1)


def listing(path: Path) -> Listing:
    return open_path(path, split="train").listing


@settings(deadline=None, max_examples=100, derandomize=True)
@given(SETS)
def test_any_names(pairs: list[tuple[str, str]]) -> None:
    classes = tuple(sorted({folder for folder, _ in pairs}))
    expected = {f"{folder}/{file}": classes.index(folder) for folder, file in pairs}
    with tempfile.TemporaryDirectory() as root:
        for name in expected:
            (Path(root, "set") / name).parent.mkdir(parents=True, exist_ok=True)
            (Path(root, "set") / name).write_bytes(PNG.getvalue())
        with zipfile.ZipFile(Path(root, "set.zip"), "w") as archive:
            for name in expected:
                archive.writestr(name, PNG.getvalue())
        for path in (Path(root, "set"), Path(root, "set.zip")):
            found = listing(path)
            assert found.classes == classes and found.labels is not None and not found.notes
            assert dict(zip(found.names, found.labels.tolist(), strict=True)) == expected

        shifted = {unicodedata.normalize("NFD", name): label + 3 for name, label in expected.items()}
        (Path(root, "set") / "dataset.json").write_text(json.dumps({"labels": list(shifted.items())}))
        found = listing(Path(root, "set"))
        assert found.labels is not None and not any(note.warning for note in found.notes)
        assert dict(zip(found.names, (found.labels - 3).tolist(), strict=True)) == expected


@settings(deadline=None, max_examples=50, derandomize=True)
@given(st.lists(NAMES, min_size=3, max_size=3, unique_by=str.casefold))
def test_any_names_of_arrays(names: list[str]) -> None:
    images, labels, mean = np.arange(50, dtype=np.uint8).reshape(2, 5, 5), np.array([1, 0]), np.zeros(5)
    names[1] += " labels"
    with tempfile.TemporaryDirectory() as root:
        path = Path(root, "set.npz")
        with zipfile.ZipFile(path, "w") as archive:
            for name, array in zip(names, (images, labels, mean), strict=True):
                data = io.BytesIO()
                np.save(data, array)
                archive.writestr(f"{name}.npy", data.getvalue())
        source = open_path(path, split="train")
        assert source.listing.labels is not None and source.listing.labels.tolist() == [1, 0]
        assert [note.warning for note in source.listing.notes] == [False, True]
        with source.opened() as read:
            assert np.array_equal(read(1), images[1])
