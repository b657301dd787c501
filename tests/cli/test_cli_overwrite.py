"""Results are replaced with `--overwrite` only, and refused before any work."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.helpers.commands import Call, picture, refused

SAMPLE = ("sample", "checkpoints/r", "--num", "5", "--out")
STATS = ("data", "stats", "images", "ref.npz", "--resolution", "32", "--channels", "1", "--features", "digits")
REPORT = ("report", "checkpoints/r", "--features", "digits", "--num", "20", "--metrics", "is", "--out", "page")
BENCH = ("bench", "--models", "cnn3", "--norms", "bn", "--batch", "8", "--rounds", "1", "--no-memory")
COMMANDS: Mapping[str, tuple[tuple[str, ...], str, str]] = {
    "grid": ((*SAMPLE, "g.png"), "--out g.png: exists", "g.png"),
    "zip": ((*SAMPLE, "x.zip"), "--out x.zip: exists", "x.zip"),
    "walk": ((*SAMPLE, "w.gif", "--interpolate", "2"), "--out w.gif: exists", "w.gif"),
    "default": (("sample", "checkpoints/r"), "sample-seed-0.png: exists", "samples/r/sample-seed-0.png"),
    "folder": ((*SAMPLE, "many"), "--out many: contains images", "many/00000004.png"),
    "pack": (("data", "pack", "images", "x.zip", "--resolution", "8"), "--out x.zip: exists", "x.zip"),
    "stats": (STATS, "--out ref.npz: exists", "ref.npz"),
    "export": (
        ("export", "checkpoints/r", "--format", "safetensors"),
        "generator.safetensors: exists",
        "exports/r-step-00000004-generator.safetensors",
    ),
    "report": (REPORT, "--out page: contains report.json, report.md, report.html", "page/report.html"),
    "bench": ((*BENCH, "--json", "b.json"), "--json b.json: exists", "b.json"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_is_replaced_unasked(call: Call, trained: Path, name: str) -> None:
    command, message, file = COMMANDS[name]
    code, told = call(*command)
    assert code == 0 and Path(file).exists(), told
    content = Path(file).read_bytes()
    Path(file).write_bytes(content + b" ")
    refused(call, 2, message, "--overwrite replaces", command=command)
    assert Path(file).read_bytes() == content + b" "
    assert call(*command, "--overwrite")[0] == 0
    assert not Path(file).read_bytes().endswith(b" ")


def test_a_folder_of_samples_is_replaced_as_a_whole(call: Call, trained: Path) -> None:
    assert call("sample", trained, "--num", "9", "--out", "many")[0] == 0
    assert call("sample", trained, "--num", "3", "--out", "many", "--overwrite")[0] == 0
    assert sorted(path.name for path in Path("many").iterdir()) == [f"{number:08d}.png" for number in range(3)]
    assert [path.name for path in Path().glob(".many*")] == []


def test_a_folder_of_other_files_is_kept(call: Call, trained: Path) -> None:
    """Not even with --overwrite: it may be a folder of photos, or the home folder."""
    picture(Path("photos/cat.png"))
    for flags in ((), ("--overwrite",)):
        told = "--out photos: contains files that `sample` did not write (cat.png); choose another folder"
        refused(call, 2, told, command=("sample", str(trained), "--out", "photos", *flags))
    Path("00000001.png").mkdir()
    refused(call, 2, "did not write", command=("sample", str(trained), "--out", ".", "--overwrite"))
    assert Path("photos/cat.png").exists()


def test_two_hundred_images_stay(call: Call, trained: Path) -> None:
    assert call("sample", trained, "--num", "200", "--out", "x.zip")[0] == 0
    refused(call, 2, "x.zip: exists", command=("sample", str(trained), "--num", "5", "--out", "x.zip"))
    with zipfile.ZipFile("x.zip") as archive:
        assert len(archive.namelist()) == 200
