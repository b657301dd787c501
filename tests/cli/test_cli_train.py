"""`train` and the command line as a whole: bad usage, signals, exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from gan.cli import main
from gan.runs import checkpoint
from tests.helpers.commands import SMALL, Call, refused
from tests.helpers.runs import signalled_exit_code


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


@pytest.mark.parametrize("command", [[], ["data"]])
def test_a_command_group_alone_prints_its_help(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(command)
    captured = capsys.readouterr()
    assert stopped.value.code == 0 and "Commands:" in captured.out and captured.err == ""


@pytest.mark.parametrize(
    "words, message",
    [
        (["sample", "r", "--numm", "3"], "No such option '--numm'. Did you mean '--num'? (see --help)"),
        (["sample", "r", "--colour", "3"], "No such option '--colour'. (see --help)"),
        (["train", "--epochs", "3"], "No such option '--epochs'. (see --help)"),
        (["classify", "r", "--steps", "3"], "No such option '--steps'. (see --help)"),
        (["trian"], "No such command 'trian'. Did you mean 'train'? (see --help)"),
        (["evaluate"], "No such command 'evaluate'. (see --help)"),
    ],
)
def test_only_close_flags_and_commands_are_suggested(call: Call, words: list[str], message: str) -> None:
    assert call(*words) == (2, f"msn-gan: {message}\n")


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
    main_arguments = ["train", "--dry-run", "--verbose", "--data", "digits", *SMALL, "--norm", "sn"]
    with pytest.raises(SystemExit) as stopped:
        main(main_arguments)
    out = capsys.readouterr().out
    assert stopped.value.code == 0
    assert '"norm": "sn"' in out and "parameters" in out and "time:" in out and "memory:" in out
    assert "\nsettings:   --preset quickstart" in out and "--norm sn" in out and "disk: " in out
    assert not Path("checkpoints").exists()


def test_dry_run_counts_the_parameters_of_the_classes_there_are(
    call: Call, image_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(image_folder.parent))
    words = ["train", "r", "--data", f"~/{image_folder.name}", *SMALL, "--conditional"]
    code, told = call(*words)
    assert code == 0, told
    (trained,) = [line for line in told.splitlines() if " parameters" in line]
    with pytest.raises(SystemExit) as stopped:
        main([*words, "--dry-run"])
    (planned,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("networks:")]
    assert stopped.value.code == 0
    assert planned.removeprefix("networks:").split(" parameters")[0].strip() in trained


def test_dry_run_of_a_conditional_run_without_labels(call: Call, image_folder: Path) -> None:
    told = f"--conditional: {image_folder / 'a'} has no labels"
    words = ("train", "--data", str(image_folder / "a"), *SMALL, "--conditional", "--dry-run")
    refused(call, 2, told, command=words)


def test_dry_run_tells_of_labels_that_begin_at_one(call: Call, image_folder: Path) -> None:
    names = [path.relative_to(image_folder).as_posix() for path in sorted(image_folder.rglob("*.png"))]
    rows = [[name, 1 + index % 2] for index, name in enumerate(names)]
    (image_folder / "dataset.json").write_text(json.dumps({"labels": rows}))
    code, message = call("train", "--data", image_folder, *SMALL, "--conditional", "--dry-run")
    assert code == 0 and "1 of its 3 classes has no images (0)" in message


def test_config_file_and_flags(call: Call, image_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("c.toml").write_text(f'preset = "msn-dcgan"\ndata = "{image_folder}"\nnorm = "sn"\nd_width = 4\ng_width = 4\n')
    with pytest.raises(SystemExit):
        main(["train", "--config", "c.toml", "--norm", "bn", "--steps", "7", "--dry-run", "--verbose", "--batch", "4"])
    out = capsys.readouterr().out
    assert '"preset": "msn-dcgan"' in out and '"norm": "bn"' in out and '"loss": "logistic"' in out


BAD_USAGE = {
    "preset": (["--preset", "biggan"], ["--preset biggan: choose from quickstart, msn-dcgan"]),
    "norm": (["--norm", "batch"], ["--norm batch: choose from none, wn"]),
    "loss": (["--loss", "gan"], ["--loss gan: choose from hinge"]),
    "resolution": (["--resolution", "40"], ["--resolution 40: choose from 32, 48, 64, 128"]),
    "number": (["--batch", "many"], ["'many' is not a valid integer"]),
    "norm layers": (["--norm-layers", "4,x"], ["'4,x' is not a list of numbers"]),
    "absent norm layer": (["--norm-layers", "12"], ["--norm-layers 12: this discriminator has 7"]),
    "option": (["--colour", "1"], ["No such option", "--colour"]),
    "missing path": (["--data", "nowhere/at/all"], ["nowhere/at/all", "digits"]),
    "device": (["--device", "tpu"], ["'tpu' is not one of"]),
    "run name": (["../up"], ["RUN '../up'"]),
    "no data": (["--preset", "resnet-64"], ["--data: the preset resnet-64 has no dataset"]),
    "batch": (["--batch", "5000"], ["5,000", "1,797"]),
}


@pytest.mark.parametrize("name", BAD_USAGE)
def test_bad_usage(call: Call, name: str) -> None:
    flags, parts = BAD_USAGE[name]
    refused(call, 2, *parts, command=("train", *flags))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_unwritable_folder(call: Call, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    refused(call, 1, "locked", command=("train", "--out", "locked", *SMALL))


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_gives_its_exit_code(tmp_path: Path, number: int, code: int) -> None:
    assert signalled_exit_code(tmp_path, number, [*SMALL, "--steps", "100000"]) == code
    kept = checkpoint.list_checkpoints(tmp_path / "checkpoints" / "r")
    assert kept and checkpoint.load_checkpoint(kept[-1])["step"] >= 3


def test_out_is_a_file(call: Call, tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("")
    refused(call, 1, "checkpoints/quickstart: cannot be created", command=("train", *SMALL))


def test_existing_run(call: Call, image_folder: Path) -> None:
    call("train", "r", "--data", image_folder, *SMALL)
    refused(call, 2, "RUN r: exists already", "--resume", command=("train", "r", "--data", str(image_folder), *SMALL))
    refused(call, 1, "no run checkpoints/other", command=("train", "other", "--resume"))


def test_the_script_and_the_module_agree(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, root / "msn_gan.py", "train", "--norm", "x"], capture_output=True, text=True, cwd=tmp_path
    )
    last = done.stderr.splitlines()[-1]  # it may be loading torch for more than a second
    assert done.returncode == 2 and last.startswith("msn-gan: --norm x: choose from"), done.stderr
    debug = subprocess.run(
        [sys.executable, root / "msn_gan.py", "--debug", "sample", "x.pt"], capture_output=True, text=True, cwd=tmp_path
    )
    assert debug.returncode == 1 and "Traceback" in debug.stderr
