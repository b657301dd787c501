"""The command line as a user meets it: one line for each kind of bad input, and the exit codes."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gan import checkpoint, evaluate
from gan.cli import main
from tests.runs import signalled_exit_code

SMALL = "--g-width 4 --d-width 4 --latent-dim 8 --batch 8 --steps 4 --checkpoint-every 2 --precision fp32".split()
Call = Callable[..., tuple[int, str]]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run a command in an empty folder; returns its exit code and what it wrote to standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        code = stopped.value.code
        return int(code or 0), capsys.readouterr().err

    return run


def refused(call: Call, code: int, *parts: str, command: tuple[str, ...]) -> None:
    """The command ends with this code and one line that has these parts, and leaves nothing behind."""
    before = set(Path().rglob("*"))
    got, told = call(*command)
    lines = [line for line in told.splitlines() if line.startswith("msn-gan: ")]
    assert got == code, told
    assert len(lines) == 1 and "Traceback" not in told, told
    for part in parts:
        assert part in told, told
    left = [path for path in set(Path().rglob("*")) - before if path.is_file() and "cache" not in path.parts]
    assert left == []


def picture(path: Path, size: tuple[int, int] = (32, 32), mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(len(path.name)).integers(0, 256, (*size, 3), dtype=np.uint8)).convert(
        mode
    ).save(path)
    return path


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["train"],
        ["sample"],
        ["report"],
        ["classify"],
        ["export"],
        ["bench"],
        ["data"],
        ["data", "info"],
        ["data", "pack"],
        ["data", "stats"],
    ],
)
def test_help_has_an_example(call: Call, capsys: pytest.CaptureFixture[str], command: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([*command, "--help"])
    text = capsys.readouterr().out
    assert stopped.value.code == 0 and ("xample" in text or not command or command == ["data"])


def test_train_sample_resume(call: Call, image_folder: Path) -> None:
    code, told = call("train", "cats", "--data", image_folder, *SMALL, "--conditional")
    assert code == 0, told
    assert "sample checkpoints/cats/step-00000004.pt" in told
    config = json.loads(Path("checkpoints/cats/config.json").read_text())
    assert config["data"]["classes"] == ["a", "b", "c"] and config["versions"]["torch"]
    assert Path("samples/cats/real.png").exists() and Path("samples/cats/step-00000004.png").exists()
    assert call("train", "cats", "--resume", "--steps", "6")[0] == 0
    assert call("sample", "checkpoints/cats", "--num", "5", "--out", "a.png", "--class", "b")[0] == 0
    assert call("sample", "checkpoints/cats/step-00000006.pt", "--num", "5", "--out", "many", "--no-ema")[0] == 0
    assert sorted(os.listdir("many")) == [*(f"{index:08d}.png" for index in range(5)), "dataset.json"]
    # the folder can be trained on, and is labelled
    code, told = call("train", "again", "--data", "many", *SMALL, "--conditional", "--batch", "4")
    assert code == 0, told


def test_sample_kinds(call: Call, image_folder: Path) -> None:
    call("train", "r", "--data", image_folder, *SMALL, "--g-lr", "0.1")  # so that the frames of a walk differ
    sample = ("sample", "checkpoints/r")
    assert call(*sample, "--num", "6", "--grid", "3", "--out", "g.png")[0] == 0
    assert Image.open("g.png").size == (3 * 33 + 1, 2 * 33 + 1)
    assert call(*sample, "--num", "70", "--out", "z.zip")[0] == 0
    assert call(*sample, "--num", "70", "--out", "z2.zip")[0] == 0
    assert Path("z.zip").read_bytes() == Path("z2.zip").read_bytes()
    assert call(*sample, "--num", "3", "--out", "f")[0] == 0
    with zipfile.ZipFile("z.zip") as archive:
        assert len(archive.namelist()) == 70
        for name in sorted(os.listdir("f")):
            assert archive.read(name) == Path("f", name).read_bytes()
    for name in ("w.gif", "w.webp"):
        assert call(*sample, "--num", "2", "--interpolate", "3", "--out", name)[0] == 0
        assert Image.open(name).n_frames == 12
    assert call(*sample, "--num", "2", "--interpolate", "3", "--out", "w.png")[0] == 0
    assert Image.open("w.png").size == (4 * 33 + 1, 2 * 33 + 1)
    assert call(*sample)[0] == 0 and list(Path("samples/r").glob("sample-*.png"))
    assert call(*sample, "--truncation", "0.5", "--seed", "3", "--out", "t.png")[0] == 0


def test_dry_run_trains_nothing(call: Call, capsys: pytest.CaptureFixture[str]) -> None:
    main_arguments = ["train", "--dry-run", "--data", "digits", *SMALL, "--norm", "sn"]
    with pytest.raises(SystemExit) as stopped:
        main(main_arguments)
    out = capsys.readouterr().out
    assert stopped.value.code == 0
    assert '"norm": "sn"' in out and "parameters" in out and "time:" in out and "memory:" in out
    assert not Path("checkpoints").exists()


def test_config_file_and_flags(call: Call, image_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("c.toml").write_text(f'preset = "msn-dcgan"\ndata = "{image_folder}"\nnorm = "sn"\nd_width = 4\ng_width = 4\n')
    with pytest.raises(SystemExit):
        main(["train", "--config", "c.toml", "--norm", "bn", "--steps", "7", "--dry-run", "--batch", "4"])
    out = capsys.readouterr().out
    assert '"preset": "msn-dcgan"' in out and '"norm": "bn"' in out and '"loss": "logistic"' in out


BAD_USAGE = {
    "preset": (["--preset", "biggan"], ["--preset biggan: choose from quickstart, msn-dcgan"]),
    "norm": (["--norm", "batch"], ["--norm batch: choose from none, bn"]),
    "loss": (["--loss", "gan"], ["--loss gan: choose from hinge"]),
    "resolution": (["--resolution", "40"], ["--resolution 40: choose from 32, 48, 64, 128"]),
    "number": (["--batch", "many"], ["'many' is not a valid integer"]),
    "norm layers": (["--norm-layers", "4,x"], ["'4,x' is not a list of numbers"]),
    "absent norm layer": (["--norm-layers", "12"], ["--norm-layers 12: this discriminator has 7"]),
    "option": (["--colour", "1"], ["No such option", "--colour"]),
    "missing path": (["--data", "nowhere/at/all"], ["nowhere/at/all", "digits"]),
    "device": (["--device", "tpu"], ["'tpu' is not one of"]),
    "run name": (["../up"], ["RUN '../up'"]),
    "no data": (["--preset", "resnet-64"], ["--data: the preset resnet-64 has no data of its own"]),
    "batch": (["--batch", "5000"], ["5000", "1797"]),
}


@pytest.mark.parametrize("name", BAD_USAGE)
def test_bad_usage(call: Call, name: str) -> None:
    flags, parts = BAD_USAGE[name]
    refused(call, 2, *parts, command=("train", *flags))


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
    conversions = json.loads(Path("checkpoints/quickstart/config.json").read_text())["data"]["conversions"]
    assert sum(conversions.values()) >= 8, conversions


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


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_unwritable_folder(call: Call, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    refused(call, 1, "locked", command=("train", "--out", "locked", *SMALL))


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_gives_its_exit_code(tmp_path: Path, number: int, code: int) -> None:
    assert signalled_exit_code(tmp_path, number, [*SMALL, "--steps", "100000"]) == code
    kept = checkpoint.listed(tmp_path / "checkpoints" / "r")
    assert kept and checkpoint.load(kept[-1])["step"] >= 3


def test_out_is_a_file(call: Call, tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("")
    refused(call, 1, "checkpoints/quickstart: cannot be made", command=("train", *SMALL))


def test_existing_run(call: Call, image_folder: Path) -> None:
    call("train", "r", "--data", image_folder, *SMALL)
    refused(call, 2, "RUN r: exists already", "--resume", command=("train", "r", "--data", str(image_folder), *SMALL))
    refused(call, 1, "no run checkpoints/other", command=("train", "other", "--resume"))


@pytest.fixture
def trained(call: Call, image_folder: Path) -> Path:
    assert call("train", "r", "--data", image_folder, *SMALL)[0] == 0
    return Path("checkpoints/r/step-00000004.pt")


@pytest.mark.parametrize(
    "flags, code, part",
    [
        (["--out", "x.bmp"], 2, "it must be a .png grid, a .zip or a folder"),
        (["--out", "x.gif"], 2, "without --interpolate"),
        (["--out", "x.zip", "--interpolate", "3"], 2, "with --interpolate"),
        (["--class", "cat"], 2, "--class cat: this generator knows no classes"),
        (["--num", "0"], 2, "--num"),
        (["--out", "checkpoints"], 2, "--out checkpoints: exists and is not an empty folder"),
        (["--out", "x.png/y.png"], 1, "x.png"),
    ],
)
def test_bad_sampling(call: Call, trained: Path, flags: list[str], code: int, part: str) -> None:
    Path("x.png").write_text("in the way")
    refused(call, code, part, command=("sample", str(trained), *flags))


def test_bad_checkpoints(call: Call, trained: Path) -> None:
    whole = trained.read_bytes()
    Path("cut.pt").write_bytes(whole[:5000])
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    Path("flipped.pt").write_bytes(flipped)
    state = checkpoint.load(trained)
    checkpoint.save(Path("other.pt"), {**state, "config": {**state["config"], "g_width": 6}})
    checkpoint.save(Path("classifier.pt"), {**state, "kind": "classifier"})
    for path, part in {
        "cut.pt": "is not a whole msn-gan checkpoint",
        "flipped.pt": "is damaged",
        "other.pt": "its weights do not fit its settings",
        "classifier.pt": "is not a checkpoint of a GAN",
        "absent.pt": "cannot be read: No such file",
        "samples": "holds no checkpoint",
    }.items():
        refused(call, 1, path, part, command=("sample", path, "--out", "a.png"))


def test_full_disk_while_sampling_leaves_nothing(call: Call, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for out in ("a.png", "a.zip"):
        refused(call, 1, "No space left on device", command=("sample", str(trained), "--out", out))


def test_the_script_and_the_module_agree(tmp_path: Path) -> None:
    root = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, root / "msn_gan.py", "train", "--norm", "x"], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 2 and done.stderr.startswith("msn-gan: --norm x: choose from"), done.stderr
    debug = subprocess.run(
        [sys.executable, root / "msn_gan.py", "--debug", "sample", "x.pt"], capture_output=True, text=True, cwd=tmp_path
    )
    assert debug.returncode == 1 and "Traceback" in debug.stderr


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
    record = json.loads(Path("reports/step-00000004/report.json").read_text())
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


BAD_REPORTS = {
    "no target": ([], 2, "Missing argument 'TARGET...'"),
    "absent": (["nowhere"], 2, "TARGET nowhere: no such checkpoint, run, folder, zip or npz"),
    "metrics": (["images", "--metrics", "fid,ssim"], 2, "--metrics ssim: no such metric; there are fid, is, kid, pr"),
    "no data": (["images"], 2, "--data: name the real images"),
    "features": (["images", "--data", "images", "--features", "vgg"], 2, "--features vgg: no such network"),
    "classifier": (["images", "--data", "images", "--features", "classifier:no.pt"], 1, "no.pt: cannot be read"),
    "no weights": (
        ["images", "--data", "images", "--inception-weights", "no.pth"],
        1,
        "--inception-weights no.pth: no such file; get it from https://",
    ),
    "preprocess": (["images", "--data", "digits", "--preprocess", "clean"], 2, "--preprocess: belongs to"),
    "precision": (["images", "--data", "images", "--precision", "fp8"], 2, "'fp8' is not one of 'fp32', 'bf16'"),
    "number": (["images", "--data", "digits", "--num", "99"], 1, "images: --num 99 images are asked for, it has 24"),
    "out": (["images", "--data", "digits", "--out", "taken"], 1, "--out taken: cannot be written to"),
    "few": (["few", "--data", "digits"], 1, "few: a set needs at least 2 images"),
    "no images": (["empty", "--data", "digits"], 1, "empty: no images found"),
    "size": (["large", "--data", "digits", "--metrics", "fid", "--ref", "x.npz"], 2, "--ref takes the place of --data"),
    "statistics": (["large", "--ref", "taken", "--features", "digits"], 1, "taken: no reference statistics"),
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
    score, calls = evaluate.score, []

    def once(*args: Any, **options: Any) -> dict[str, Any]:
        calls.append(1)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return score(*args, **options)

    monkeypatch.setattr(evaluate, "score", once)
    flags = ("--features", "digits", "--num", "20", "--metrics", "is", "--out", "out")
    code, told = call("report", "checkpoints/r", *flags)
    assert code == 130 and "wrote out/report.html" in told and told.endswith("msn-gan: interrupted\n"), told
    assert "Stopped after 1 of 2: interrupted" in Path("out/report.html").read_text()


def test_the_quickstart_ends_with_a_score(call: Call) -> None:
    code, told = call("train", *SMALL, "--steps", "2", "--report-num", "30")
    assert code == 0, told
    closing = told[told.index("step 2: FID") :]
    assert "Inception score" in closing and "30 images against 1797" in closing and "report checkpoints/" in closing
