"""Faults that a hostile user found: two processes in one run, a reader that goes away, numbers beyond all bounds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from gan.cli import main
from gan.errors import UsageError, UserError
from gan.export.export import FORMATS, ExportOptions, _default_path
from gan.runs.lock import exclusive_lock
from gan.runs.run_dir import RunDirectory, default_output_name
from gan.sampling.grids import image_grid
from gan.sampling.writers import check_animation_size
from gan.utils import progress
from tests.helpers.commands import SMALL, Call

PROGRAM = [sys.executable, "-m", "gan"]


def test_a_run_is_held_by_one_process(call: Call, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints" / "r"
    script = (
        "import pathlib, sys\nfrom gan.runs.lock import exclusive_lock\n"
        "with exclusive_lock(pathlib.Path(sys.argv[1])):\n    print('held', flush=True)\n    sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", script, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdin and other.stdout and other.stdout.readline() == "held\n"
    train = ("train", "r", "--data", "digits", *SMALL)
    for command in (train, ("compare", "r", "--data", "digits", *SMALL), ("classify", "r", "--model", "cnn3")):
        code, told = call(*command)
        assert code == 1 and "checkpoints/r: another process is training there" in told
    assert [path.name for path in folder.iterdir()] == [".lock"]
    other.communicate("")
    assert not folder.exists()
    assert call(*train)[0] == 0


def test_a_folder_is_free_again_and_not_left_empty(tmp_path: Path) -> None:
    for _ in range(2):
        with exclusive_lock(tmp_path / "r"):
            assert (tmp_path / "r").is_dir()
        assert not (tmp_path / "r").exists()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be created"), exclusive_lock(tmp_path / "file" / "r"):
        pass


def test_outputs_of_two_runs_have_two_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for run in ("v0.1", "v0.2", "group/a"):
        (tmp_path / "checkpoints" / run).mkdir(parents=True)
        (tmp_path / "checkpoints" / run / "step-00000004.pt").touch()
    Path("set.zip").touch()
    names = ["checkpoints/v0.1", "checkpoints/v0.2", "checkpoints/v0.1/step-00000004.pt", "checkpoints/group/a"]
    assert [str(default_output_name(Path(name))) for name in [*names, "set.zip", "."]] == [
        "v0.1",
        "v0.2",
        "v0.1/step-00000004",
        "group/a",
        "set",
        tmp_path.name,
    ]


def test_default_places_of_images(call: Call) -> None:
    for run in ("v0.1", "v0.2"):
        assert call("train", run, "--data", "digits", *SMALL)[0] == 0
        assert call("sample", f"checkpoints/{run}", "--num", "1")[0] == 0
        assert call("sample", f"checkpoints/{run}/step-00000004.pt", "--num", "1")[0] == 0
        made = {path.name for path in Path("samples", run).iterdir()}
        assert {"sample-seed-0.png", "step-00000004-sample-seed-0.png"} <= made
    assert call("sample", "checkpoints/v0.1", "--num", "2", "--out", "UP.PNG")[0] == 0
    assert Path("UP.PNG").is_file()
    for bad, told in (
        (("--truncation", "nan"), "--truncation nan: must be a number above 0"),
        (("--interpolate", "2", "--num", "600", "--grid", "600", "--out", "w.webp"), "the limit of .webp is 16,383"),
    ):
        code, text = call("sample", "checkpoints/v0.1", *bad)
        assert code == 2 and told in text and text.count("\n") == 1
    assert not Path("w.webp").exists()


def test_a_run_of_another_command_is_not_resumed(call: Call) -> None:
    Path("checkpoints/c").mkdir(parents=True)
    Path("checkpoints/c/config.json").write_text(json.dumps({"config": {"model": "cnn3"}, "kind": "classify"}))
    for flags in ((), ("--resume",)):
        code, told = call("train", "c", *flags)
        assert code == 2 and "RUN c: was made by `classify` (checkpoints/c); choose another name" in told


def test_config_json_says_how_a_run_goes_on(call: Call) -> None:
    assert call("train", "r", "--data", "digits", *SMALL, "--out", "a place")[0] == 0
    before = json.loads(RunDirectory("r", Path("a place")).config_path.read_text())
    code, told = call("train", "r", "--resume", "--steps", "6", "--keep", "7", "--out", "a place")
    assert code == 0 and "sample 'a place/checkpoints/r/step-00000006.pt'" in told
    after = json.loads(RunDirectory("r", Path("a place")).config_path.read_text())
    assert (after["config"]["steps"], after["config"]["keep"]) == (6, 7)
    assert after["command"] == before["command"] and after["config"]["seed"] == before["config"]["seed"]


def test_another_number_of_threads_is_told(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    assert call("train", "r", "--data", "digits", *SMALL)[0] == 0
    then = torch.get_num_threads()
    monkeypatch.setattr(torch, "get_num_threads", lambda: then + 1)
    code, told = call("train", "r", "--resume", "--steps", "5")
    assert code == 0 and f"resuming with {then + 1} threads instead of {then}: results may differ by rounding" in told


@pytest.mark.parametrize(
    "flags, told",
    [
        (["--batch", "1" + 20 * "0"], "--batch 100000000000000000000: must be less than 2^63"),
        (["--seed", "1" + 23 * "0"], "must be less than 2^63"),
        (["--latent-dim", "100000000000000"], "not enough memory: use a smaller --batch"),
        (["--config", "names.toml"], "choose from quickstart"),
        (["--config", "long.json"], "is not of type float"),
    ],
)
def test_numbers_beyond_all_bounds(call: Call, flags: list[str], told: str) -> None:
    Path("names.toml").write_text('preset = ["a"]\n')
    Path("long.json").write_text('{"g_lr": 1' + 400 * "0" + "}")
    code, text = call("train", "r", "--data", "digits", *SMALL, *flags)
    lines = [line for line in text.splitlines() if line.startswith("msn-gan: ")]
    assert code in (1, 2) and len(lines) == 1 and told in lines[0]
    assert not Path("checkpoints").exists() or not any(Path("checkpoints").iterdir())


def test_marks_of_encoding_and_capitals_of_a_file(call: Call) -> None:
    Path("c.TOML").write_bytes(b"\xef\xbb\xbfsteps = 4\r\n")
    assert call("train", "r", "--config", "c.TOML", "--data", "digits", *SMALL)[0] == 0


def test_pack_spares_its_source(call: Call, image_folder: Path) -> None:
    assert call("data", "pack", image_folder, "set.zip", "--resolution", "8")[0] == 0
    before = Path("set.zip").read_bytes()
    Path("keep.txt").write_text("mine")
    for out, told in (
        ("set.zip", "set.zip: is also the input; choose another name"),
        ("keep.txt", "give it a name that ends with .zip"),
    ):
        code, text = call("data", "pack", "set.zip", out, "--resolution", "4")
        assert code == 2 and told in text
    assert Path("set.zip").read_bytes() == before and Path("keep.txt").read_text() == "mine"


def test_a_link_to_itself_is_a_broken_link(call: Call, image_folder: Path) -> None:
    (image_folder / "self").symlink_to("self")
    assert call("data", "info", image_folder)[0] == 0


def test_names_are_printed_in_a_line(call: Call, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "set" / "a\nb").mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(tmp_path / "set" / "a\nb" / "good.png")
    (tmp_path / "set" / "a\nb" / "bad\n.png").write_bytes(b"none")
    (tmp_path / "set" / "c").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "set" / "c" / "good.png")
    with pytest.raises(SystemExit):
        main(["data", "info", "set"])
    out = capsys.readouterr().out
    assert r"a\nb 1" in out and r"a\nb/bad\n.png" in out


def test_a_reader_that_goes_away(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        def write(self, text: str) -> int:
            raise BrokenPipeError

        flush = write  # type: ignore[assignment]

    monkeypatch.setattr(progress, "_silenced", False)
    monkeypatch.setattr(sys, "stderr", Gone())
    progress.say("to nobody")
    progress.say("again")
    print("nor this", file=sys.stderr)


def test_only_classifiers_take_a_file(call: Call) -> None:
    code, told = call("data", "stats", "digits", "d.npz", "--resolution", "32", "--features", "digits:x")
    assert code == 2 and "--features digits:x: only classifier takes a file" in told


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="needs POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_nothing_half_written(call: Call, number: signal.Signals) -> None:
    assert call("train", "r", "--data", "digits", *SMALL)[0] == 0
    job = subprocess.Popen(
        [*PROGRAM, "sample", "checkpoints/r", "--num", "1000000", "--out", "many"],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # the tests may run under nohup
    )
    try:
        while not list(Path().glob(".many.*/*.png")):
            assert job.poll() is None
            time.sleep(0.05)
        job.send_signal(number)
        _, told = job.communicate(timeout=60)
    finally:
        job.kill()
    assert job.returncode == 128 + number and f"msn-gan: stopped by {number.name}\n" in told
    assert not list(Path().glob(".many*"))


def test_an_interrupt_while_the_program_loads() -> None:
    program = "import sys; sys.modules['torch'] = None\nimport builtins\nreal = builtins.__import__\n" + (
        "def load(name, *rest):\n"
        "    if name == 'gan.cli': raise KeyboardInterrupt\n"
        "    return real(name, *rest)\n"
        "builtins.__import__ = load\nfrom gan.__main__ import run\nrun()"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (130, "msn-gan: interrupted\n")


def test_ascii_output_has_question_marks(tmp_path: Path) -> None:
    command = [*PROGRAM, "data", "info", "digits"]
    ended = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert ended.returncode == 0 and ended.stdout.isascii()


def test_an_environment_that_is_not_torchruns_is_one_line(tmp_path: Path) -> None:
    others = {name: value for name, value in os.environ.items() if name != "RANK"}
    done = subprocess.run(
        [*PROGRAM, "train", "--dry-run"], env={**others, "WORLD_SIZE": "2"}, capture_output=True, text=True
    )
    assert done.returncode == 2 and done.stderr.startswith("msn-gan: WORLD_SIZE is 2, but RANK")
    assert len(done.stderr.splitlines()) == 1


def test_what_a_killed_sample_left_does_not_stop_a_run(call: Call) -> None:
    train = ("train", "r", "--data", "digits", *SMALL)
    assert call(*train)[0] == 0
    left = Path("samples/r/.images.999999999.partial")  # of `sample r --out samples/r/images`
    left.mkdir()
    (left / "00000.png").touch()
    assert call("train", "r", "--resume", "--steps", "6")[0] == 0
    assert not left.exists()


def test_animations_are_as_large_as_their_grid_is() -> None:
    """Two pixels stand between images of 64, and no grid is wider than its images are many."""
    with pytest.raises(
        UsageError, match=r"250 walks in 250 columns would be 16,502 pixels wide .* limit of .webp is 16,383"
    ):
        check_animation_size(Path("w.webp"), 250, 250, 64)
    check_animation_size(Path("w.webp"), 8, 1000, 32)
    assert image_grid(torch.zeros(8, 3, 64, 64, dtype=torch.uint8), 8).shape[2] == 8 * (64 + 2) + 2


def test_exports_of_two_comparisons_have_two_names(tmp_path: Path) -> None:
    source: Any = SimpleNamespace(recipe={"checkpoint": {"name": "step-00000004.pt"}}, kind="generator")
    names = []
    for run in ("a", "b"):
        folder = tmp_path / "checkpoints" / run / "msn-seed0"
        folder.mkdir(parents=True)
        names.append(str(_default_path(ExportOptions(folder), source, FORMATS["onnx"])))
    assert names == [f"exports/{run}-msn-seed0-step-00000004-generator.onnx" for run in ("a", "b")]


def test_nothing_that_only_unix_has_is_needed_to_start() -> None:
    """`resource`, `fcntl` and the like: on Windows they are not there."""
    script = "import sys\nfor name in ('resource', 'fcntl'):\n    sys.modules[name] = None\n"
    script += "import gan.cli, gan.training.train"
    subprocess.run([sys.executable, "-c", script], check=True)
