from __future__ import annotations

import copy
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from gan.data import zip_source as module
from gan.data.loading import load_images
from gan.errors import UserError


@pytest.fixture
def stored(classes_folder, zip_of, tmp_path) -> Path:
    return zip_of(classes_folder, tmp_path / "set.zip")


def pixels(path: Path) -> torch.Tensor:
    return load_images(str(path), resolution=8, channels=3).pixels


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_holds_what_its_folder_holds(classes_folder, zip_of, tmp_path, method):
    path = zip_of(classes_folder, tmp_path / "set.zip", method)
    assert torch.equal(pixels(path), pixels(classes_folder))


def test_bytes_before_the_zip_and_a_comment_after_it_do_no_harm(stored):
    whole = pixels(stored)
    with zipfile.ZipFile(stored, "a") as archive:
        archive.comment = b"hello" * 100
    stored.write_bytes(b"#!/bin/sh\n" * 50 + stored.read_bytes())
    assert torch.equal(pixels(stored), whole)


def test_zip64(classes_folder, zip_of, tmp_path, monkeypatch):
    whole = pixels(zip_of(classes_folder, tmp_path / "plain.zip"))
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1)
    path = zip_of(classes_folder, tmp_path / "long.zip")
    assert b"PK\x06\x06" in path.read_bytes()
    assert torch.equal(pixels(path), whole)
    with open(path, "rb") as file:
        directory = module._central_directory(file)
    assert directory.startswith(b"PK\x01\x02") and directory.count(b"PK\x01\x02") == 12


def renamed(folder: Path, out: Path, name_of: Callable[[str], str]) -> Path:
    """A zip of a folder's files under other names."""
    with zipfile.ZipFile(out, "w") as archive:
        for path in sorted(folder.rglob("*.*")):
            info = zipfile.ZipInfo("x")
            info.filename = name_of(path.relative_to(folder).as_posix())
            archive.writestr(info, path.read_bytes())
    return out


def test_names_with_backslashes(classes_folder, tmp_path):
    path = renamed(classes_folder, tmp_path / "set.zip", lambda name: name.replace("/", "\\"))
    assert load_images(str(path), resolution=8, channels=3).classes == ("cat", "dog", "owl")


@pytest.mark.parametrize("form", ["./{}", "././{}", ".//{}"])
def test_names_that_begin_with_a_dot_and_a_slash(classes_folder, tmp_path, form):
    path = renamed(classes_folder, tmp_path / "set.zip", form.format)
    images = load_images(str(path), resolution=8, channels=3)
    assert images.classes == ("cat", "dog", "owl")
    assert torch.equal(images.pixels, pixels(classes_folder))


def test_rows_of_dataset_json_that_begin_with_a_dot_and_a_slash(classes_folder, zip_of, tmp_path):
    names = sorted(path.relative_to(classes_folder).as_posix() for path in classes_folder.rglob("*.png"))
    rows = [[f"./{name}", number % 2] for number, name in enumerate(names)]
    (classes_folder / "dataset.json").write_text(json.dumps({"labels": rows}))
    dotted = renamed(classes_folder, tmp_path / "dotted.zip", "./{}".format)
    for path in (classes_folder, dotted, zip_of(classes_folder, tmp_path / "set.zip")):
        assert load_images(str(path), resolution=8, channels=3).labels.tolist() == [0, 1] * 6


def test_a_colon_is_a_letter_like_any_other(classes_folder, tmp_path):
    path = renamed(classes_folder, tmp_path / "set.zip", lambda name: name.replace("/0", "/1:0").replace("c", "c:"))
    images = load_images(str(path), resolution=8, channels=3)
    assert images.classes == ("c:at", "dog", "owl") and len(images) == 12


@pytest.mark.parametrize("part", [0.0, 0.5, 0.999])
def test_a_truncated_zip_is_named(stored, part):
    content = stored.read_bytes()
    stored.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(UserError, match=r"set\.zip: not a zip, or truncated"):
        pixels(stored)


def test_a_damaged_central_directory_is_told(stored):
    content = stored.read_bytes()
    at = content.index(b"PK\x01\x02")
    stored.write_bytes(content[:at] + b"XX" + content[at + 2 :])
    with pytest.raises(UserError, match="not a zip, or truncated"):
        pixels(stored)


@pytest.mark.parametrize(
    "name", ["../evil.png", "/etc/evil.png", "a/../../evil.txt", "C:\\evil.png", "c:/evil.png", "..\\evil.png"]
)
def test_entries_outside_the_zip_are_refused(stored, name):
    with zipfile.ZipFile(stored, "a") as archive:
        info = zipfile.ZipInfo("x")
        info.filename = name
        archive.writestr(info, b"")
    with pytest.raises(UserError, match=r"refused.*evil"):
        pixels(stored)


def test_an_encrypted_entry_is_refused(stored):
    content = bytearray(stored.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    stored.write_bytes(content)
    with pytest.raises(UserError, match="is encrypted; unpack it"):
        pixels(stored)


def test_other_compression_is_refused(classes_folder, zip_of, tmp_path):
    with pytest.raises(UserError, match="repack it stored or deflated"):
        pixels(zip_of(classes_folder, tmp_path / "set.zip", zipfile.ZIP_LZMA))


def test_a_huge_entry_is_refused(stored):
    content = bytearray(stored.read_bytes())
    at = content.index(b"PK\x01\x02")
    content[at + 20 : at + 28] = 2 * (600 << 20).to_bytes(4, "little")
    stored.write_bytes(content)
    with pytest.raises(UserError, match="629,145,600 bytes unpacked, more than 512 MiB"):
        pixels(stored)


def test_a_bomb_is_refused(stored):
    with zipfile.ZipFile(stored, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("cat/bomb.png", bytes(20 << 20))
    with pytest.raises(UserError, match=r"bomb\.png unpacks .* to 20,971,520: a zip bomb"):
        pixels(stored)


def test_a_bomb_of_overlapping_entries_is_refused(stored):
    with zipfile.ZipFile(stored, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("cat/x.png", bytes(15 << 20))
        for number in range(100):
            again = copy.copy(archive.infolist()[-1])
            again.filename = f"cat/x{number}.png"
            archive.filelist.append(again)
    with pytest.raises(UserError, match="a zip bomb"):
        pixels(stored)


def test_damaged_entries_are_bad_images(stored):
    content = bytearray(stored.read_bytes())
    with zipfile.ZipFile(stored) as archive:
        flipped, headless = (archive.getinfo(name).header_offset for name in ("cat/00.png", "dog/01.png"))
    content[flipped + 100] ^= 0xFF
    content[headless] ^= 0xFF
    stored.write_bytes(content)
    with pytest.raises(UserError) as error:
        pixels(stored)
    assert "2 images cannot be read" in str(error.value)
    assert "cat/00.png: damaged in the zip: wrong CRC" in str(error.value)
    assert "dog/01.png: damaged in the zip: its header is missing" in str(error.value)


def test_an_entry_that_lies_about_its_size_is_a_bad_image(classes_folder, zip_of, tmp_path):
    path = zip_of(classes_folder, tmp_path / "set.zip", zipfile.ZIP_DEFLATED)
    content = bytearray(path.read_bytes())
    at = content.index(b"PK\x01\x02")
    content[at + 24 : at + 28] = (50).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(UserError, match="wrong CRC"):
        pixels(path)


def test_garbage_in_place_of_deflated_data_is_a_bad_image(classes_folder, zip_of, tmp_path):
    path = zip_of(classes_folder, tmp_path / "set.zip", zipfile.ZIP_DEFLATED)
    content = bytearray(path.read_bytes())
    content[40:140] = b"\xff" * 100
    path.write_bytes(content)
    with pytest.raises(UserError, match="damaged in the zip"):
        pixels(path)


def test_a_damaged_dataset_json_is_told(classes_folder, zip_of, tmp_path):
    (classes_folder / "dataset.json").write_text('{"labels": null}')
    path = zip_of(classes_folder, tmp_path / "set.zip")
    path.write_bytes(path.read_bytes().replace(b'{"labels": null}', b'{"labels": nuII}'))
    with pytest.raises(UserError, match=r"dataset\.json cannot be read: damaged"):
        pixels(path)


@pytest.mark.parametrize("field", ["compress_size", "header_offset"])
def test_an_impossible_size_or_position_is_a_bad_image(classes_folder, tmp_path, field):
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for path in sorted(classes_folder.rglob("*.png")):
            archive.write(path, path.relative_to(classes_folder).as_posix())
        setattr(archive.filelist[0], field, 2**63 - 1)
    with pytest.raises(
        UserError, match="1 image cannot be read:\n  cat/00.png: damaged in the zip: its size or position"
    ):
        load_images(str(tmp_path / "set.zip"), resolution=8, channels=3)
