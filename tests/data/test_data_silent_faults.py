"""Image sets on which a loader can go wrong without a word: what is right for each, and that it is said."""

from __future__ import annotations

import json
import os
import struct
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, features

from gan.data.datasets import open_path
from gan.data.describe import describe_images
from gan.data.loading import load_images
from gan.data.packing import pack_images
from gan.data.source import Listing
from gan.errors import UserError


def listing(path: Path, split: str = "train") -> Listing:
    return open_path(path, split=split).listing


def warnings(found: Listing) -> str:
    return "\n".join(note.text for note in found.notes if note.warning)


def fill(paint, folder: Path, names: Sequence[str]) -> Path:
    for number, name in enumerate(names):
        paint(folder / name, number)
    return folder


@pytest.fixture
def in_both(zip_of, tmp_path):
    """A folder and the zip of it."""
    return lambda folder: (folder, zip_of(folder, tmp_path / f"{folder.name}.zip"))


@pytest.mark.usefixtures("cache_all")
@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_files_rewritten_in_place_are_decoded_again(classes_folder, zip_of, tmp_path, kind):
    """Their names, sizes and times stay; in the zip even the CRC in its directory does."""
    for path in classes_folder.rglob("*.png"):
        bitmap(path.with_suffix(".bmp"), 0)  # whose size does not depend on its pixels
        path.unlink()
    data = classes_folder if kind == "folder" else zip_of(classes_folder, tmp_path / "set.zip")
    before = load_images(str(data), resolution=8, channels=3)
    changed = next(iter(sorted(classes_folder.rglob("*.bmp")))) if kind == "folder" else data
    stamp = changed.stat().st_mtime_ns
    if kind == "folder":
        bitmap(changed, 200)
    else:
        content = bytearray(data.read_bytes())
        content[content.index(b"BM") + 60] ^= 0xFF
        data.write_bytes(content)
    os.utime(changed, ns=(stamp, stamp))
    if kind == "zip":  # the entry's CRC is wrong now, which must not be hidden by the cache
        with pytest.raises(UserError, match="wrong CRC"):
            load_images(str(data), resolution=8, channels=3)
        return
    after = load_images(str(data), resolution=8, channels=3)
    assert not torch.equal(before.pixels, after.pixels) and after.pixels[0].min() == 200


def bitmap(path: Path, value: int) -> None:
    header = struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 246, 0, 0, 54, 40, 8, 8, 1, 24, 0, 192, 0, 0, 0, 0)
    path.write_bytes(header + bytes([value]) * 192)


@pytest.mark.parametrize(
    ("train", "test"),
    [("Train", "Test"), ("TRAIN", "TEST"), ("training", "testing"), ("train", "dev"), ("Train", "VAL")],
)
def test_splits_in_every_spelling(paint, tmp_path, in_both, train, test):
    names = [f"{folder}/{label}/1.png" for folder in (train, test) for label in ("cat", "dog")]
    for path in in_both(fill(paint, tmp_path / "set", names)):
        for split, folder in (("train", train), ("test", test)):
            found = listing(path, split)
            assert found.names == (f"{folder}/cat/1.png", f"{folder}/dog/1.png") and found.classes == ("cat", "dog")
            assert found.split_folder == folder


@pytest.mark.parametrize(
    "names",
    [
        ["train/a/1.png", "test/a/2.png", "extra/a/3.png"],
        ["train/1.png", "test/2.png", "3.png"],
        ["cat/train/1.png", "cat/test/2.png", "dog/train/3.png"],
    ],
)
def test_splits_that_cannot_be_used_are_said(paint, tmp_path, in_both, names):
    for path in in_both(fill(paint, tmp_path / "set", names)):
        found = listing(path)
        assert len(found.names) == len(names) and found.split_folder is None
        assert "its folders test, train look like splits, but are not the only ones" in warnings(found)


def test_a_class_named_like_a_split_is_a_class(paint, tmp_path, in_both):
    names = ["bicycle/1.png", "car/2.png", "train/3.png"]
    for path in in_both(fill(paint, tmp_path / "set", names)):
        found = listing(path)
        assert found.classes == ("bicycle", "car", "train") and not found.notes


def test_two_folders_for_one_split_are_refused(paint, tmp_path, in_both):
    names = ["train/1.png", "Training/2.png", "test/3.png"]
    for path in in_both(fill(paint, tmp_path / "set", names)):
        with pytest.raises(UserError, match="has several folders for the split train: Training, train; merge them"):
            listing(path)


def test_a_set_that_is_a_test_split_alone_is_said(paint, tmp_path, in_both):
    for path in in_both(fill(paint, tmp_path / "set", ["test/cat/1.png", "test/dog/2.png"])):
        assert listing(path).classes == ("cat", "dog")
        assert "all its images are in a folder test; they are used as the split train" in warnings(listing(path))


def test_a_split_of_a_set_without_splits_is_refused(classes_folder, tmp_path, in_both):
    message = "--split test: .* has no splits; leave --split out to use all its images"
    for path in (*in_both(classes_folder), "digits"):
        with pytest.raises(UserError, match=message):
            load_images(str(path), resolution=8, channels=3, split="test", strict_split=True)
        with pytest.raises(UserError, match=message):
            describe_images(str(path), split="test")
        with pytest.raises(UserError, match=message):
            pack_images(path, tmp_path / "out.zip", resolution=8, split="test")
    assert not (tmp_path / "out.zip").exists()


def raw_zip(path: Path, entries: dict[bytes, bytes]) -> Path:
    """A zip whose names are bytes without the flag of UTF-8, as older tools write it."""
    body, directory = b"", b""
    for name, data in entries.items():
        sizes = struct.pack("<3L2H", zlib.crc32(data), len(data), len(data), len(name), 0)
        directory += struct.pack("<4s6H", b"PK\1\2", 20, 20, 0, 0, 0, 33) + sizes
        directory += struct.pack("<3H2L", 0, 0, 0, 0, len(body)) + name
        body += struct.pack("<4s5H", b"PK\3\4", 20, 0, 0, 0, 33) + sizes + name + data
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, len(entries), len(entries), len(directory), len(body), 0)
    path.write_bytes(body + directory + end)
    return path


@pytest.mark.parametrize("separator", ["/", "\\"])
@pytest.mark.parametrize(
    ("encoding", "classes"),
    [
        ("cp932", ("十円", "十字", "ソ連", "猫")),  # 十 and ソ end in the byte of a backslash
        ("gb18030", ("猫", "狗")),
        ("big5", ("功夫", "許多")),  # 功 and 許 do too
        ("euc-kr", ("고양이", "개")),
        ("latin-1", ("café", "thé")),
        ("utf-8", ("café", "猫")),
    ],
)
def test_names_of_a_zip_in_any_encoding(paint, tmp_path, encoding, classes, separator):
    paint(tmp_path / "x.png")
    data = (tmp_path / "x.png").read_bytes()
    names = [f"{label}{separator}{index}.png".encode(encoding) for label in classes for index in range(2)]
    found = listing(raw_zip(tmp_path / "set.zip", dict.fromkeys(names, data)))
    if separator == "\\" and encoding != "utf-8" and any(label.encode(encoding)[-1] >= 0x80 for label in classes):
        # Nothing tells a separator from the second byte of a character.
        assert "with a backslash that may separate folders" in warnings(found)
        return
    assert len(found.names) == len(names) and len(found.classes) == len(classes)
    assert sorted(np.bincount(found.labels)) == [2] * len(classes)
    if encoding == "utf-8":
        assert found.classes == tuple(sorted(classes))


def test_backslashes_of_windows_are_separators(paint, tmp_path):
    paint(tmp_path / "x.png")
    data = (tmp_path / "x.png").read_bytes()
    found = listing(raw_zip(tmp_path / "set.zip", {b"set\\cat\\1.png": data, b"set\\dog\\1.png": data}))
    assert found.names == ("set/cat/1.png", "set/dog/1.png") and found.classes == ("cat", "dog")
    with pytest.raises(UserError, match="is a path outside the zip"):
        listing(raw_zip(tmp_path / "bad.zip", {b"..\\cat\\1.png": data, b"..\\dog\\1.png": data}))


def test_labels_in_another_unicode_form(paint, tmp_path, in_both):
    """macOS decomposes the names of files; whoever writes the labels does not."""
    names = ["cafe\u0301.png", "the\u0301.png"]
    folder = fill(paint, tmp_path / "set", names)
    (folder / "dataset.json").write_text(json.dumps({"labels": [["caf\u00e9.png", 0], ["th\u00e9.png", 1]]}))
    for path in in_both(folder):
        assert listing(path).labels.tolist() == [0, 1]


def test_empty_classes_are_said(paint, tmp_path, capsys):
    folder = fill(paint, tmp_path / "set", [f"{number}.png" for number in range(4)])
    rows = [[f"{number}.png", 1 + number % 2] for number in range(4)]
    (folder / "dataset.json").write_text(json.dumps({"labels": rows}))
    load_images(str(folder), resolution=8, channels=3)
    assert "1 of its 3 classes has no images (0)" in capsys.readouterr().err
    rows = [[name, label - 1] for name, label in rows]
    (folder / "dataset.json").write_text(json.dumps({"labels": rows}))
    load_images(str(folder), resolution=8, channels=3)
    assert "have no images" not in capsys.readouterr().err


def test_labels_that_are_not_utf8(classes_folder):
    (classes_folder / "dataset.json").write_bytes(b'{"labels": {"caf\xe9.png": 0}}')
    with pytest.raises(UserError, match="not UTF-8 at byte 16; save it in UTF-8"):
        listing(classes_folder)


def test_a_trailing_comma_is_told_with_its_place(classes_folder):
    (classes_folder / "dataset.json").write_text('{"labels": [\n  ["cat/00.png", 0],\n]}\n')
    with pytest.raises(UserError, match=r"dataset.json: invalid JSON in line [23], column \d+: "):
        listing(classes_folder)


def test_a_zip_with_the_flag_keeps_its_backslashes_apart(paint, tmp_path):
    paint(tmp_path / "x.png")
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for name in ("猫/1.png", "犬/1.png"):
            archive.write(tmp_path / "x.png", name)
    assert listing(tmp_path / "set.zip").classes == ("犬", "猫")


def test_files_that_are_no_images_are_counted(classes_folder, in_both, capsys):
    for name in ("notes.txt", "cat/more.TXT", "LICENSE", ".hidden.png", "__MACOSX/1.png", "cat/scan.heic"):
        (classes_folder / name).parent.mkdir(exist_ok=True)
        (classes_folder / name).write_bytes(b"x")
    counts = {".txt": 2, ".heic": 1, "hidden": 2, "no ending": 1}
    for path in in_both(classes_folder):
        assert listing(path).ignored == counts and describe_images(str(path))["ignored"] == counts
        assert len(load_images(str(path), resolution=8, channels=3)) == 12
        told = capsys.readouterr().err
        assert "ignoring 6 files (not images: 2 .txt, 2 hidden, 1 .heic, 1 no ending)" in told


@pytest.mark.parametrize("ending", ["jfif", "jpe", "avif"])
def test_rarer_endings_are_read(paint, tmp_path, ending):
    if ending == "avif" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    pixels = paint(tmp_path / "x.png")
    for index in range(2):
        Image.fromarray(pixels).save(tmp_path / f"{index}.{ending}", "AVIF" if ending == "avif" else "JPEG")
    (tmp_path / "x.png").unlink()
    assert len(load_images(str(tmp_path), resolution=8, channels=3)) == 2


def test_backslashes_in_names_that_are_known_to_be_unicode(paint, tmp_path):
    """.NET writes them so."""
    paint(tmp_path / "x.png")
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for name in ("猫\\1.png", "犬\\1.png"):
            info = zipfile.ZipInfo("x")
            info.filename = name
            archive.writestr(info, (tmp_path / "x.png").read_bytes())
    assert listing(tmp_path / "set.zip").classes == ("犬", "猫") and not listing(tmp_path / "set.zip").notes
