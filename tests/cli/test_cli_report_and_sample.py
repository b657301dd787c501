"""`sample`, `report` and `data stats`, and what they refuse."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from gan.cli import main
from gan.evaluation import evaluator
from gan.metrics.reference import load_statistics
from gan.runs import checkpoint
from tests.helpers.commands import SMALL, Call, picture, refused


@pytest.mark.parametrize(
    "flags, code, part",
    [
        (["--out", "x.bmp"], 2, "it must be a .png grid, a .zip or a folder"),
        (["--out", "x.gif"], 2, "without --interpolate"),
        (["--out", "x.zip", "--interpolate", "3"], 2, "with --interpolate"),
        (["--class", "cat"], 2, "--class cat: this generator is unconditional"),
        (["--num", "0"], 2, "--num"),
        (["--out", "checkpoints"], 2, "--out checkpoints: contains files that `sample` did not write (r)"),
        (["--out", "x.png/y.png"], 1, "x.png"),
    ],
)
def test_bad_sampling(call: Call, trained: Path, flags: list[str], code: int, part: str) -> None:
    Path("x.png").write_text("in the way")
    refused(call, code, part, command=("sample", str(trained), *flags))


def test_several_ranks_do_not_write_a_timelapse(call: Call, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gan.distributed.process_group.launched_ranks", lambda: 2)
    message = "--timelapse: is written by one process; leave out torchrun"
    refused(call, 2, message, command=("sample", str(trained.parent), "--timelapse", "t.gif"))


def test_bad_checkpoints(call: Call, trained: Path) -> None:
    whole = trained.read_bytes()
    Path("cut.pt").write_bytes(whole[:5000])
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    Path("flipped.pt").write_bytes(flipped)
    state = checkpoint.load_checkpoint(trained)
    checkpoint.save_checkpoint(Path("other.pt"), {**state, "config": {**state["config"], "g_width": 6}})
    checkpoint.save_checkpoint(Path("classifier.pt"), {**state, "kind": "classifier"})
    for path, part in {
        "cut.pt": "is not a complete msn-gan checkpoint",
        "flipped.pt": "is damaged",
        "other.pt": "the weights do not fit the config",
        "classifier.pt": "is not a checkpoint of a GAN",
        "absent.pt": "no such checkpoint or run",
        "samples": "contains no checkpoint",
    }.items():
        refused(call, 1, path, part, command=("sample", path, "--out", "a.png"))


def test_full_disk_while_sampling_leaves_nothing(call: Call, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for out in ("a.png", "a.zip"):
        refused(call, 1, "No space left on device", command=("sample", str(trained), "--out", out))


def test_report_of_all_kinds(call: Call, trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("sample", str(trained), "--num", "40", "--out", "some.zip")[0] == 0
    report = ("report", "--features", "digits", "--num", "40", "--metrics", "fid,is")
    code, told = call(*report, "checkpoints/r", "some.zip", "--data", "images", "--out", "out/both")
    assert code == 0 and "wrote out/both/report.html" in told, told
    record = json.loads(Path("out/both/report.json").read_text())
    assert [row["name"] for row in record["results"]] == ["r, step 2", "r, step 4", "some.zip"]
    assert record["results"][1]["fid"] == record["results"][2]["fid"]
    assert record["results"][0]["protocol"]["extractor"] == "digits"
    for name in ("report.html", "report.md", "report-images/real.png", "report-images/003.png"):
        assert Path("out/both", name).exists()
    # the run's own images are the default, the folder is named after the target, the table is on standard output
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        main([*report, "--no-ema", str(trained)])
    assert stopped.value.code == 0
    out = capsys.readouterr().out
    assert "r, step 4" in out and "FID" in out
    record = json.loads(Path("reports/r/step-00000004/report.json").read_text())
    assert record["results"][0]["protocol"]["ema"] is False


def test_statistics_and_reports_against_them(call: Call, trained: Path) -> None:
    stats = ("data", "stats", "images", "ref.npz", "--resolution", "32", "--channels", "1", "--features", "digits")
    code, told = call(*stats)
    assert code == 0 and "wrote ref.npz: 64 features of 24 images" in told, told
    report = ("report", str(trained), "--features", "digits", "--num", "24")
    assert call(*report, "--ref", "ref.npz", "--out", "a")[0] == 0
    assert call(*report, "--metrics", "fid,is", "--out", "b")[0] == 0
    a, b = (json.loads(Path(name, "report.json").read_text())["results"][0] for name in "ab")
    assert a["fid"] == b["fid"] and "kid" not in a


def test_data_commands_take_out_as_a_flag_and_as_an_argument(call: Call, image_folder: Path) -> None:
    words = ("--resolution", "32", "--channels", "1")
    stats = ("data", "stats", image_folder, "--features", "digits", *words)
    assert call(*stats, "--out", "flag.npz")[0] == call(*stats, "argument.npz")[0] == 0
    assert call(*stats, "argument.npz", "--out", "argument.npz", "--overwrite")[0] == 0
    assert load_statistics(Path("flag.npz")).content == load_statistics(Path("argument.npz")).content
    pack = ("data", "pack", image_folder, *words)
    assert call(*pack, "--out", "flag.zip")[0] == call(*pack, "argument.zip")[0] == 0
    assert Path("flag.zip").read_bytes() == Path("argument.zip").read_bytes()
    for command in (stats, pack):
        refused(call, 2, "--out: name the file to write", command=command)
        refused(
            call, 2, "--out a.npz: and OUT b.npz are two files; give one", command=(*command, "b.npz", "--out", "a.npz")
        )


BAD_REPORTS = {
    "no target": ([], 2, "Missing argument 'TARGET...'"),
    "absent": (["nowhere"], 2, "TARGET nowhere: no such checkpoint, run, folder, zip or npz"),
    "metrics": (["images", "--metrics", "fid,ssim"], 2, "--metrics ssim: no such metric; choose from fid, is, kid, pr"),
    "no data": (["images"], 2, "--data: name the real images"),
    "features": (["images", "--data", "images", "--features", "vgg"], 2, "--features vgg: choose from auto, inception"),
    "classifier": (["images", "--data", "images", "--features", "classifier:no.pt"], 1, "no.pt: cannot be read"),
    "no weights": (
        ["images", "--data", "images", "--features-weights", "no.pth"],
        1,
        "--features-weights no.pth: no such file; get it from https://",
    ),
    "preprocess": (
        ["images", "--data", "digits", "--preprocess", "clean"],
        2,
        "--preprocess: is for --features inception",
    ),
    "precision": (["images", "--data", "images", "--precision", "fp8"], 2, "'fp8' is not one of 'fp32', 'bf16'"),
    "number": (["images", "--data", "digits", "--num", "99"], 1, "images: has 24 images, fewer than --num 99"),
    "out": (["images", "--data", "digits", "--out", "taken"], 1, "--out taken: cannot be written to"),
    "few": (["few", "--data", "digits"], 1, "few: 1 image; the Inception score needs at least 10"),
    "no images": (["empty", "--data", "digits"], 1, "empty: no images found"),
    "size": (["large", "--data", "digits", "--metrics", "fid", "--ref", "x.npz"], 2, "--ref replaces --data"),
    "statistics": (["large", "--ref", "taken", "--features", "digits"], 1, "taken: not reference statistics"),
}


@pytest.mark.parametrize("name", BAD_REPORTS)
def test_bad_reports(call: Call, image_folder: Path, name: str) -> None:
    Path("taken").write_text("")
    Path("empty").mkdir()
    picture(Path("few/a.png"))
    for index in range(20):
        picture(Path(f"large/{index}.png"), (48, 48))
    arguments, code, part = BAD_REPORTS[name]
    refused(call, code, part, command=("report", *arguments))


def test_a_report_that_is_interrupted_is_written(call: Call, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    score, calls = evaluator.score, []

    def once(*args: Any, **options: Any) -> dict[str, Any]:
        calls.append(1)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return score(*args, **options)

    monkeypatch.setattr(evaluator, "score", once)
    flags = ("--features", "digits", "--num", "20", "--metrics", "is", "--out", "out")
    code, told = call("report", "checkpoints/r", *flags)
    assert code == 130 and "wrote out/report.html" in told and told.endswith("msn-gan: interrupted\n"), told
    assert "Stopped after 1 of 2: interrupted" in Path("out/report.html").read_text()


def test_the_quickstart_ends_with_a_score(call: Call) -> None:
    code, told = call("train", *SMALL, "--steps", "2", "--report-num", "30")
    assert code == 0, told
    closing = told[told.index("step 2: FID") :]
    assert "Inception score" in closing and "30 images against 1,797" in closing and "report checkpoints/" in closing
