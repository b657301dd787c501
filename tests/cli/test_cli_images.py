"""Folders and zips of images, good and bad, as a user meets them."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gan.cli import main
from tests.helpers.commands import SMALL, Call, picture, refused


def truncated_jpeg(folder: Path) -> None:
    path = picture(folder / "cut.jpg")
    path.write_bytes(path.read_bytes()[:300])


def text_as_png(folder: Path) -> None:
    (folder / "text.png").write_text("hello")


def zero_bytes(folder: Path) -> None:
    (folder / "empty.png").write_bytes(b"")


@pytest.mark.parametrize(
    "spoil, name", [(truncated_jpeg, "cut.jpg"), (text_as_png, "text.png"), (zero_bytes, "empty.png")]
)
def test_unreadable_images_are_named_or_skipped(
    call: Call, image_folder: Path, spoil: Callable[[Path], None], name: str
) -> None:
    spoil(image_folder)
    refused(call, 1, name, "--skip-bad-images", command=("train", "--data", str(image_folder), *SMALL))
    assert call("train", "--data", image_folder, *SMALL, "--skip-bad-images")[0] == 0


def test_convertible_images_are_converted(call: Call, tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    for index in range(5):
        picture(folder / f"{index}.png", (40 + index, 50))
    picture(folder / "cmyk.jpg", mode="CMYK")
    Image.fromarray((np.arange(1024).reshape(32, 32) * 60).astype(np.uint16)).save(folder / "deep.png")
    picture(folder / "palette.png", mode="P").rename(folder / "palette.PNG")
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue")]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    code, told = call("train", "--data", folder, *SMALL)
    assert code == 0, told
    conversions = json.loads(Path("checkpoints/mixed/config.json").read_text())["data"]["conversions"]
    assert sum(conversions.values()) >= 8, conversions


def test_info_is_for_people(image_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text_as_png(image_folder)
    good = sum(1 for path in image_folder.rglob("*.*") if path.is_file()) - 1
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main(["data", "info", str(image_folder)])
    told = dict(line.split(":", 1) for line in capsys.readouterr().out.splitlines())
    told = {name.strip(): text.strip() for name, text in told.items()}
    assert told["images"] == str(good) and told["unreadable"] == "1" and "text.png" in told, told
    assert f" {good}" in told["modes"] and "kB at 32 pixels" in told["in memory"], told


def test_folders_without_enough_images(call: Call, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(call, 1, "empty", command=("train", "--data", "empty", *SMALL))
    picture(tmp_path / "one" / "a.png")
    refused(call, 1, "one", "2", command=("train", "--data", "one", *SMALL))


def zip_with(*names: str) -> bytes:
    buffer, png = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (32, 32)).save(png, "PNG")
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, png.getvalue())
    return buffer.getvalue()


def bomb() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        with archive.open("a.png", "w", force_zip64=True) as entry:
            for _ in range(768):
                entry.write(bytes(2**20))
    return buffer.getvalue()


ZIPS = {
    "no zip": lambda: b"this is no zip",
    "truncated": lambda: zip_with(*(f"{index}.png" for index in range(20)))[:-200],
    "outside": lambda: zip_with("../a.png", "b.png"),
    "bomb": bomb,
}


@pytest.mark.parametrize("name", ZIPS)
def test_bad_zips(call: Call, name: str) -> None:
    Path("x.zip").write_bytes(ZIPS[name]())
    refused(call, 1, "x.zip", command=("train", "--data", "x.zip", *SMALL))


def test_labels_missing(call: Call, tmp_path: Path) -> None:
    for index in range(9):
        picture(tmp_path / "flat" / f"{index}.png")
    refused(call, 2, "--conditional: flat has no labels", command=("train", "--data", "flat", "--conditional", *SMALL))
    assert not Path("checkpoints/quickstart").exists()


def test_data_info_strict_fails_when_files_were_ignored(call: Call, image_folder: Path) -> None:
    assert call("data", "info", image_folder, "--strict")[0] == 0
    (image_folder / "notes.txt").write_text("about these images")
    assert call("data", "info", image_folder)[0] == 0
    refused(call, 1, "--strict", command=("data", "info", str(image_folder), "--strict"))


@pytest.mark.parametrize("path", ["nosuch", "~nosuchuser/cats"])
@pytest.mark.parametrize(
    "words", [("info",), ("pack", "x.zip", "--resolution", "8"), ("stats", "x.npz", "--resolution", "8")]
)
def test_messages_name_the_argument_of_data_commands(call: Call, words: tuple[str, ...], path: str) -> None:
    command = ("data", words[0], path, *words[1:])
    refused(call, 2, f"PATH {path}: no such folder, zip or npz", command=command)
