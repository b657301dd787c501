"""What is left out, merged or assumed in reading a set: each is noted, and `data info --strict` fails."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gan.data.datasets import open_path
from gan.data.describe import describe_images
from gan.data.loading import load_images
from gan.data.packing import pack_images
from gan.errors import UserError


@pytest.fixture
def make(paint, zip_of, tmp_path):
    """A folder and the zip of it, with images at these names and a dataset.json of these labels."""

    def write(names, labels=None, others=()):
        folder = tmp_path / "set"
        for number, name in enumerate(names):
            paint(folder / name, number)
        for name in others:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(b"x")
        if labels is not None:
            (folder / "dataset.json").write_text(labels if isinstance(labels, str) else json.dumps({"labels": labels}))
        return folder, zip_of(folder, tmp_path / "set.zip")

    return write


def noted(path: Path, *notes: str, warning: bool = True) -> None:
    description = describe_images(str(path))
    assert description["notes"] == list(notes)
    assert description["warnings"] == (list(notes) if warning else [])
    assert load_images(str(path), resolution=8, channels=3).notes == notes


def test_a_set_without_doubt_has_no_notes(classes_folder):
    noted(classes_folder)


def test_a_split_is_no_warning(make):
    for path in make(["train/a/1.png", "train/b/2.png", "test/a/3.png"]):
        noted(path, "using its folder train (2 images); ignoring test (1)", warning=False)


def test_labels_without_images(make):
    labels = [["1.png", 0], ["2.png", 1], ["gone.png", 1], ["lost.png", 0]]
    for path in make(["1.png", "2.png"], labels):
        noted(path, "2 labels in dataset.json of no image (gone.png, lost.png)")


def test_labels_of_another_split_are_no_surplus(make):
    labels = [["train/1.png", 0], ["train/2.png", 1], ["test/3.png", 1]]
    for path in make(["train/1.png", "train/2.png", "test/3.png"], labels):
        noted(path, "using its folder train (2 images); ignoring test (1)", warning=False)


def test_images_without_labels_are_refused(make):
    for path in make(["1.png", "2.png", "3.png"], [["1.png", 0], ["2.png", 1]]):
        with pytest.raises(UserError, match="has no label for 1 image, among them 3.png"):
            open_path(path, split="train").listing  # noqa: B018


@pytest.mark.parametrize(
    "labels", ['{"labels": [["1.png", 0], ["2.png", 1], ["1.png", 1]]}', '{"labels": [["1.png", 0], ["./1.png", 1]]}']
)
def test_two_labels_for_one_image_are_refused(make, labels):
    for path in make(["1.png", "2.png"], labels):
        with pytest.raises(UserError, match="dataset.json: 1.png has two labels, 0 and 1"):
            open_path(path, split="train").listing  # noqa: B018


def test_two_entries_of_a_name_are_refused(make):
    for path in make(["1.png", "2.png"], '{"labels": {"1.png": 0, "2.png": 1, "1.png": 1}}'):
        with pytest.raises(UserError, match="dataset.json: has two entries of the name 1.png"):
            open_path(path, split="train").listing  # noqa: B018


def test_names_that_differ_in_their_unicode_form_alone(make):
    names = ["caf\u00e9.png", "cafe\u0301.png"]
    folder, archive = make(names, [[name, label] for label, name in enumerate(names)])
    if len(list(folder.glob("*.png"))) < 2:
        pytest.skip("one file on this file system")
    for path in (folder, archive):
        found = open_path(path, split="train").listing
        assert {name: found.labels[index] for index, name in enumerate(found.names)} == {names[0]: 0, names[1]: 1}


def test_a_dataset_json_that_is_not_used(make):
    folder, archive = make(["a/1.png", "b/2.png"], others=["a/x.json"])
    (folder / "a" / "dataset.json").write_text('{"labels": [["1.png", 7]]}')
    (folder / "a" / "x.json").unlink()
    noted(folder, "labels in a/dataset.json are not used: it must be in a folder that contains all images")
    (folder / "dataset.json").write_text('{"labels": [["a/1.png", 0], ["b/2.png", 1]]}')
    description = describe_images(str(folder))
    assert description["warnings"] == ["labels in a/dataset.json are not used: those in dataset.json are"]
    replaced = "labels are those of dataset.json, so the sub-folders are no classes (a, b)"
    assert description["notes"] == [*description["warnings"], replaced]


def test_a_dataset_json_without_labels_beside_class_folders(make):
    for path in make(["a/1.png", "b/2.png"], '{"labels": null}'):
        noted(path, "labels are those of dataset.json, so there are none (a, b)")
    for path in make(["00000/1.png", "00001/2.png"], '{"labels": null}')[1:]:
        assert open_path(path, split="train").listing.labels is None


def test_folders_without_images_are_no_classes(make):
    for path in make(["a/1.png", "b/2.png"], others=["c/raw.heic"]):
        noted(
            path,
            "1 sub-folder without images (c), not used",
            "ignoring 1 file (not images: 1 .heic)",
        )


def test_one_class_beside_folders_without_images(make):
    folder, _ = make(["a/1.png", "a/2.png"])
    (folder / "b").mkdir()
    (folder / "c").mkdir()
    noted(folder, "2 sub-folders without images (b, c), not used")


def test_empty_folders_of_a_zip(make, tmp_path):
    _, archive = make(["a/1.png", "b/2.png"])
    with zipfile.ZipFile(archive, "a") as file:
        file.mkdir("c")
    noted(archive, "1 sub-folder without images (c), not used")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_entries_of_a_zip_with_one_name(make):
    folder, archive = make(["a/1.png", "b/2.png"])
    with zipfile.ZipFile(archive, "a") as file:
        file.write(folder / "b/2.png", "a/1.png")
    noted(archive, "1 entry replaced by a later one of the same name (a/1.png)")
    assert (load_images(str(archive), resolution=8, channels=3).pixels.diff(dim=0) == 0).all()


def test_a_skipped_image_and_the_class_it_empties(make):
    folder, _ = make(["a/1.png", "a/2.png", "b/3.png"])
    (folder / "b" / "3.png").write_bytes(b"x")
    images = load_images(str(folder), resolution=8, channels=3, skip_bad_images=True)
    assert images.notes[0].startswith("1 of its 2 classes has no images (b)")
    assert images.notes[1] == "1 unreadable image skipped"


def test_they_are_said_before_packing(make, tmp_path, capsys):
    folder, _ = make(["a/1.png", "b/2.png"], others=["notes.txt"])
    pack_images(folder, tmp_path / "out.zip", resolution=8)
    assert "set: ignoring 1 file (not images: 1 .txt)" in capsys.readouterr().err


def test_they_are_said_once(make, capsys):
    folder, _ = make(["a/1.png", "b/2.png"], others=["notes.txt"])
    for resolution in (8, 16):
        assert load_images(str(folder), resolution=resolution, channels=3).notes
    assert capsys.readouterr().err.count("ignoring 1 file (not images: 1 .txt)") == 1


def test_strict(make, call):
    folder, archive = make(["a/1.png", "b/2.png"])
    assert call("data", "info", archive, "--strict")[0] == 0
    (folder / "note.txt").write_text("x")
    code, message = call("data", "info", folder, "--strict")
    assert code == 1 and "ignoring 1 file (not images: 1 .txt) (--strict)" in message
    (folder / "note.txt").unlink()
    (folder / "b" / "2.png").write_bytes(b"x")
    code, message = call("data", "info", folder, "--strict")
    assert code == 1 and "1 unreadable image; 1 of its 2 classes has no images (b)" in message


@pytest.mark.parametrize("place", ["train/1.png train/2.png test/3.png", "train/a/1.png train/b/2.png test/a/3.png"])
def test_folders_of_another_split_have_images(make, place):
    """Their names come from the folders of the set, which a zip may have too."""
    folder, archive = make(place.split())
    (folder / "test" / "notes.txt").write_text("x")
    with zipfile.ZipFile(archive, "a") as file:
        file.mkdir("test")
    for path in (folder, archive):
        notes = describe_images(str(path))["notes"]
        assert notes[0] == "using its folder train (2 images); ignoring test (1)" and "without" not in " ".join(notes)


def test_an_empty_split(make):
    folder, _ = make(["train/a/1.png", "train/b/2.png"])
    (folder / "test" / "a").mkdir(parents=True)
    noted(folder, "1 sub-folder without images (test), not used")


@pytest.mark.parametrize(
    "folders", ["train eval", "Train holdout", "train2017 val2017", "01_train 02_test", "trainA testA"]
)
def test_classes_that_look_like_splits(make, folders):
    first, second = sorted(folders.split())
    for path in make([f"{first}/1.png", f"{second}/2.png"]):
        (note,) = describe_images(str(path))["warnings"]
        assert note.startswith(
            f"its folders {first}, {second} are used as classes, although their names look like splits"
        )


def test_classes_that_have_the_same_sub_folders(make):
    for path in make(["part1/cat/1.png", "part1/dog/2.png", "part2/cat/3.png", "part2/dog/4.png"]):
        noted(path, "all of its 2 classes have the same sub-folders (cat, dog), which may be the classes")


def test_a_class_name_that_stands_twice_is_refused(make):
    for path in make(["1.png", "2.png"], '{"labels": [["1.png", 0], ["2.png", 1]], "classes": ["a", "a"]}'):
        with pytest.raises(UserError, match='"classes" has the name a twice'):
            open_path(path, split="train").listing  # noqa: B018


def test_conversions_are_said_by_info_and_pack(paint, tmp_path, capsys):
    paint(tmp_path / "set" / "1.png", size=(10, 9))
    Image.new("LA", (9, 9)).save(tmp_path / "set" / "2.png")
    Image.fromarray(np.zeros((9, 9), np.uint16)).save(tmp_path / "set" / "3.png")
    (tmp_path / "set" / "4.ppm").write_bytes(b"P6 9 9 65535 " + bytes(9 * 9 * 6))
    expected = {"scaled from 16 to 8 bits": 2, "transparency laid on white": 1}
    assert describe_images(str(tmp_path / "set"))["conversions"] == expected
    pack_images(tmp_path / "set", tmp_path / "out.zip", resolution=9)
    told = capsys.readouterr().err
    assert "2 images converted to RGB, 2 images scaled from 16 to 8 bits, 1 image cropped" in told


def test_a_class_that_packing_empties(make, tmp_path, capsys):
    folder, _ = make(["a/1.png", "a/2.png", "b/3.png"])
    (folder / "b" / "3.png").write_bytes(b"x")
    pack_images(folder, tmp_path / "out.zip", resolution=8, skip_bad_images=True)
    assert "1 of its 2 classes has no images (b)" in capsys.readouterr().err


def test_a_folder_that_is_called_like_a_dataset(paint, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paint(tmp_path / "digits" / "1.png")
    assert describe_images("digits")["count"] == 1797
    assert (
        "digits: using the dataset, not the folder of this name; write ./digits for the folder"
        in capsys.readouterr().err
    )
    assert describe_images("./digits")["count"] == 1
    assert pack_images("./digits", tmp_path / "out.zip", resolution=8) == 1
    assert pack_images(Path("digits"), tmp_path / "too.zip", resolution=8) == 1
