from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch

from gan.data.datasets import DATASETS, open_source
from gan.data.loading import load_images
from gan.errors import UsageError, UserError


def listing(path: Path, split: str = "train"):
    return open_source(str(path), data_root=path, split=split).listing


def said(found):
    return [note.text for note in found.notes]


def test_sub_folders_are_classes(classes_folder, zip_of, tmp_path):
    for path in (classes_folder, zip_of(classes_folder, tmp_path / "set.zip")):
        images = load_images(str(path), resolution=8, channels=3)
        assert len(images) == 12
        assert images.classes == ("cat", "dog", "owl")
        assert images.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
        assert images.labels.dtype == torch.int64
        assert images.name == path.name


def test_images_are_sorted_by_name_whatever_the_order_on_disk(tmp_path, paint):
    for name in ("b/2.png", "a/9.png", "b/10.png", "a/1.png"):
        paint(tmp_path / "set" / name)
    assert listing(tmp_path / "set").names == ("a/1.png", "a/9.png", "b/10.png", "b/2.png")


@pytest.mark.parametrize("inside", ["", "cifar10/", "cifar10/train/"])
def test_folders_that_hold_everything_are_no_classes(tmp_path, paint, zip_of, inside):
    for name in ("cat/1.png", "dog/deep/2.png"):
        paint(tmp_path / "set" / inside / name)
    for path in (tmp_path / "set", zip_of(tmp_path / "set", tmp_path / "set.zip")):
        found = listing(path)
        assert found.classes == ("cat", "dog")
        assert found.labels.tolist() == [0, 1]


@pytest.mark.parametrize("names", [("1.png", "2.png"), ("only/1.png", "only/2.png")])
def test_no_sub_folders_means_unlabelled(tmp_path, paint, names):
    for name in names:
        paint(tmp_path / "set" / name)
    images = load_images(str(tmp_path / "set"), resolution=8, channels=3)
    assert images.labels is None
    assert images.classes == ()


def test_images_beside_class_folders_make_the_set_unlabelled_and_say_so(classes_folder, paint):
    paint(classes_folder / "stray.png")
    found = listing(classes_folder)
    assert found.labels is None
    assert said(found) == ["1 of its images is in no sub-folder, so all 13 are treated as unlabelled"]


def test_split_folders_are_no_classes(tmp_path, paint):
    for name in ("train/cat/1.png", "train/dog/2.png", "test/cat/3.png", "test/dog/4.png", "test/dog/5.png"):
        paint(tmp_path / "set" / name)
    train, test = listing(tmp_path / "set"), listing(tmp_path / "set", "test")
    assert train.names == ("train/cat/1.png", "train/dog/2.png")
    assert (test.labels.tolist(), test.classes) == ([0, 1, 1], ("cat", "dog"))
    assert said(train) == ["using its folder train (2 images); ignoring test (3)"] and not train.notes[0].warning


def test_each_split_has_its_own_dataset_json(tmp_path, paint, zip_of):
    """The folders of a thousand images in packed zips are not classes."""
    folder = tmp_path / "set"
    for split, labels in (("train", [2, 0, 1]), ("test", [1, 2])):
        rows = [[f"{number // 2:05d}/img{number:08d}.png", label] for number, label in enumerate(labels)]
        for name, _ in rows:
            paint(folder / split / name)
        write_table(folder / split, {"labels": rows, "classes": ["cat", "dog", "owl"]})
    for path in (folder, zip_of(folder, tmp_path / "set.zip")):
        train, test = listing(path), listing(path, "test")
        assert (train.labels.tolist(), train.classes) == ([2, 0, 1], ("cat", "dog", "owl"))
        assert (test.labels.tolist(), test.classes) == ([1, 2], ("cat", "dog", "owl"))


def test_one_dataset_json_above_all_splits(tmp_path, paint):
    for name in ("train/1.png", "train/2.png", "test/3.png"):
        paint(tmp_path / "set" / name)
    write_table(tmp_path / "set", {"labels": [["train/1.png", 1], ["train/2.png", 0], ["test/3.png", 1]]})
    assert listing(tmp_path / "set").labels.tolist() == [1, 0]
    assert listing(tmp_path / "set", "test").labels.tolist() == [1]


@pytest.mark.parametrize("held_out", ["val", "valid", "validation"])
def test_images_held_out_under_another_name_serve_as_test(tmp_path, paint, zip_of, held_out):
    for name in ("train/cat/1.png", "train/dog/2.png", f"{held_out}/cat/3.png", f"{held_out}/dog/4.png"):
        paint(tmp_path / "set" / name)
    for path in (tmp_path / "set", zip_of(tmp_path / "set", tmp_path / "set.zip")):
        test = listing(path, "test")
        assert test.names == (f"{held_out}/cat/3.png", f"{held_out}/dog/4.png")
        assert (test.labels.tolist(), test.classes) == ([0, 1], ("cat", "dog"))
        used = f"using its folder {held_out} (2 images) as the split test"
        assert said(test) == [f"{used}, which has no folder of its own; ignoring train (2)"]


def test_a_split_that_is_not_there_is_told(tmp_path, paint):
    for name in ("test/cat/1.png", "val/cat/2.png", "val/dog/3.png"):
        paint(tmp_path / "set" / name)
    with pytest.raises(UserError, match="has no split train, only test and val; give the path of one of these fold"):
        listing(tmp_path / "set")
    assert listing(tmp_path / "set" / "val").classes == ("cat", "dog")


def test_every_extension_in_every_case(tmp_path, paint):
    for extension in ("png", "JPG", "jpeg", "Bmp", "webp", "GIF", "tif", "TIFF"):
        paint(tmp_path / "set" / f"x.{extension}")
    assert len(load_images(str(tmp_path / "set"), resolution=8, channels=3)) == 8


def test_hidden_files_leftovers_of_macos_and_other_files_do_not_count(classes_folder, zip_of, paint, tmp_path):
    before = listing(classes_folder).names
    for name in (".hidden.png", ".git/x.png", "__MACOSX/cat/._00.png", "cat/._x.png"):
        paint(classes_folder / name)
    (classes_folder / "README.txt").write_text("hello")
    for path in (classes_folder, zip_of(classes_folder, tmp_path / "set.zip")):
        assert listing(path).names == before


def test_links_are_followed_but_not_in_circles(tmp_path, paint):
    paint(tmp_path / "elsewhere" / "1.png")
    paint(tmp_path / "set" / "a" / "2.png")
    (tmp_path / "set" / "b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set" / "a" / "back").symlink_to(tmp_path / "set")
    assert listing(tmp_path / "set").names == ("a/2.png", "b/1.png")


def test_names_that_are_no_text_are_read(tmp_path, paint):
    paint(tmp_path / "set" / "1.png")
    os.rename(tmp_path / "set" / "1.png", os.fsencode(tmp_path / "set") + b"/\xff.png")
    paint(tmp_path / "set" / "2.png")
    assert len(load_images(str(tmp_path / "set"), resolution=8, channels=3)) == 2


def write_table(folder: Path, table: object) -> None:
    (folder / "dataset.json").write_text(table if isinstance(table, str) else json.dumps(table))


@pytest.mark.parametrize("prefix", ["", "inner/"])
def test_dataset_json_wins_over_sub_folders(tmp_path, paint, zip_of, prefix):
    folder = tmp_path / "set"
    for name in ("00000/img0.png", "00000/img1.png", "00001/img2.png"):
        paint(folder / prefix / name)
    rows = [["00000/img0.png", 6], ["00000\\img1.png", 0], ["00001/img2.png", 6], ["gone.png", 99]]
    write_table(folder / prefix, {"labels": rows})
    for path in (folder, zip_of(folder, tmp_path / "set.zip")):
        found = listing(path)
        assert found.labels.tolist() == [6, 0, 6]
        assert found.classes == tuple("0123456")


def test_dataset_json_names_classes_and_null_means_unlabelled(classes_folder):
    names = listing(classes_folder).names
    write_table(classes_folder, {"labels": [[name, 1] for name in names], "classes": ["no", "yes"]})
    assert listing(classes_folder).classes == ("no", "yes")
    write_table(classes_folder, {"labels": None})
    assert listing(classes_folder).labels is None


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("{", r"invalid JSON in line 1, column 2: "),
        ("[1,\n ]", r"invalid JSON in line 2, column 2: "),
        ("[" * 100_000, "not of the form"),
        ({"label": []}, "not of the form"),
        ([], "not of the form"),
        ({"labels": 3}, "a pair of a name and one class number"),
        ({"labels": [["cat/00.png", [0.0, 1.0]]]}, "a pair of a name and one class number"),
        ({"labels": [["cat/00.png", -1]]}, "a pair of a name and one class number"),
        ({"labels": [["cat/00.png", True]]}, "a pair of a name and one class number"),
        ({"labels": [["cat/00.png", 10**9]]}, "a pair of a name and one class number"),
        ({"labels": [["cat/00.png", 0]]}, "has no label for 11 images, among them cat/03.png"),
    ],
)
def test_malformed_dataset_json_is_told(classes_folder, table, told):
    write_table(classes_folder, table)
    with pytest.raises(UserError, match=told):
        listing(classes_folder)


def test_too_few_class_names_are_told(classes_folder):
    rows = [[name, 2] for name in listing(classes_folder).names]
    write_table(classes_folder, {"labels": rows, "classes": ["a", "b"]})
    with pytest.raises(UserError, match="at least 3 names"):
        listing(classes_folder)


@pytest.mark.parametrize("data", ["imagenet", "", "/nowhere/at/all"])
def test_neither_a_name_nor_a_path(data):
    with pytest.raises(UsageError) as error:
        load_images(data, resolution=8, channels=3)
    assert data in str(error.value)
    for name in DATASETS:
        assert name in str(error.value)


def test_a_file_that_is_no_zip(tmp_path, paint):
    paint(tmp_path / "photo.png")
    with pytest.raises(UserError, match=r"photo\.png: not a zip"):
        load_images(str(tmp_path / "photo.png"), resolution=8, channels=3)


def test_no_images(tmp_path, zip_of):
    (tmp_path / "set" / "empty").mkdir(parents=True)
    (tmp_path / "set" / "README.txt").write_text("hello")
    for path in (tmp_path / "set", zip_of(tmp_path / "set", tmp_path / "set.zip")):
        with pytest.raises(UserError) as error:
            load_images(str(path), resolution=8, channels=3)
        assert str(path) in str(error.value)
        assert ".png .jpg" in str(error.value)


def test_one_image_is_no_set(tmp_path, paint):
    paint(tmp_path / "set" / "1.png")
    with pytest.raises(UserError, match="needs at least 2 images"):
        load_images(str(tmp_path / "set"), resolution=8, channels=3)


@pytest.mark.parametrize(("resolution", "channels"), [(0, 3), (8, 4)])
def test_sizes_out_of_range(classes_folder, resolution, channels):
    with pytest.raises(UsageError, match=f"not {resolution} and {channels}"):
        load_images(str(classes_folder), resolution=resolution, channels=channels)


def test_an_unreadable_sub_folder_is_named(classes_folder, monkeypatch):
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("dog"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UserError, match="dog: Permission denied"):
        load_images(str(classes_folder), resolution=8, channels=3)


def test_fingerprint_is_that_of_the_content(classes_folder, zip_of, tmp_path, paint):
    def of(path: Path, resolution: int = 8, channels: int = 3) -> str:
        return load_images(str(path), resolution=resolution, channels=channels).fingerprint

    whole = of(classes_folder)
    assert of(zip_of(classes_folder, tmp_path / "any.zip")) == whole
    moved = classes_folder.rename(tmp_path / "moved")
    assert of(moved) == whole
    others = {of(moved, 4), of(moved, channels=1)}
    (moved / "owl").rename(moved / "ant")  # the same images, other labels
    others.add(of(moved))
    (moved / "ant").rename(moved / "owl")
    assert of(moved) == whole
    paint(moved / "owl" / "02.png", 99)
    others.add(of(moved))
    assert len(others | {whole}) == 5
