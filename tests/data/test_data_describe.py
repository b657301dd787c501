from __future__ import annotations

import json

from PIL import Image

from gan.data.describe import describe_images


def test_info_of_a_folder_and_its_zip(classes_folder, paint, zip_of, tmp_path):
    paint(classes_folder / "cat" / "wide.jpg", size=(20, 10))
    paint(classes_folder / "cat" / "grey.png", grey=True)
    (classes_folder / "dog" / "zero.png").touch()
    for path, kind in ((classes_folder, "folder"), (zip_of(classes_folder, tmp_path / "set.zip"), "zip")):
        told = describe_images(str(path))
        assert told["name"] == str(path)
        assert told["kind"] == kind
        assert told["count"] == 14
        assert told["labelled"] is True
        assert told["classes"] == {"cat": 6, "dog": 4, "owl": 4}
        assert list(told["sizes"].items()) == [("8x8", 13), ("20x10", 1)]
        assert list(told["modes"].items()) == [("RGB", 13), ("L", 1)]
        assert told["bad"] == [["dog/zero.png", "empty file"]]
        assert told["bytes"]["32"] == 14 * 3 * 32 * 32
        assert json.loads(json.dumps(told)) == told


def test_info_of_an_unlabelled_set_in_sizes_as_shown(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    for number in range(2):
        Image.new("RGB", (20, 10)).save(tmp_path / f"{number}.jpg", exif=exif)
    told = describe_images(str(tmp_path))
    assert (told["labelled"], told["classes"]) == (False, {})
    assert told["sizes"] == {"10x20": 2}


def test_info_of_the_digits():
    told = describe_images("digits")
    assert (told["kind"], told["count"]) == ("digits", 1797)
    assert sum(told["classes"].values()) == 1797
    assert told["sizes"] == {"8x8": 1797}
