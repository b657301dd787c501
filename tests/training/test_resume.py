"""A run that is killed at any moment and resumed ends with the bytes of one that never was."""

from __future__ import annotations

import json
import os
import random
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from gan.errors import UsageError, UserError
from gan.runs import checkpoint, log
from gan.training import train as launch
from gan.training.trainer import Trainer
from tests.conftest import TINY
from tests.helpers.commands import SMALL, Call
from tests.helpers.runs import random_moment, run_and_kill, run_to_end
from tests.helpers.states import same_bytes

STEPS = 24
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "dcgan-msn": {"norm": "msn", "loss": "logistic"},
    "resnet-conditional": {
        "network": "resnet",
        "norm": "sn",
        "conditional": True,
        "decay": "linear",
        "n_dis": 2,
        "ema_half_life": 500.0,
        "beta1": 0.0,
    },
    "msn-flip": {
        "norm": "msn",
        "flip": True,
        "augment": ["color", "translation", "cutout"],
        "loss": "hinge",
        "precision": "bf16",
    },
}


def flags_of(name: str, data: Path) -> dict[str, Any]:
    return {**TINY, **CONFIGURATIONS[name], "data": str(data), "steps": STEPS, "log_every": 3, "checkpoint_every": 4}


def final_state(root: Path) -> dict[str, Any]:
    state = checkpoint.load_checkpoint(root / "checkpoints" / "r" / f"step-{STEPS:08d}.pt")
    del state["seconds"]
    return state


@pytest.mark.parametrize(
    "name",
    [pytest.param("dcgan-msn", marks=pytest.mark.slow), *(name for name in CONFIGURATIONS if name != "dcgan-msn")],
)
def test_killed_and_resumed_is_never_stopped(name: str, tmp_path: Path, image_folder: Path) -> None:
    flags = flags_of(name, image_folder)
    run_to_end(tmp_path / "whole", flags)
    whole = final_state(tmp_path / "whole")
    rng = random.Random(name)
    moments: list[tuple[str, float]] = [("save", 2), ("renamed", 1), *(random_moment(rng, 0.4) for _ in range(3))]
    killed = 0
    for moment in moments:
        resume = (tmp_path / "killed" / "checkpoints" / "r" / "config.json").exists()
        killed += run_and_kill(tmp_path / "killed", flags, moment, resume=resume)
    run_to_end(tmp_path / "killed", flags, resume=True)
    assert killed >= 2
    same_bytes(final_state(tmp_path / "killed"), whole)
    for folder in ("checkpoints", "samples"):
        files = {path.name for path in (tmp_path / "killed" / folder / "r").iterdir() if "tfevents" not in path.name}
        whole_files = {
            path.name for path in (tmp_path / "whole" / folder / "r").iterdir() if "tfevents" not in path.name
        }
        assert files == whole_files
    steps = [entry["step"] for entry in log.read_log(tmp_path / "killed" / "checkpoints" / "r" / "log.jsonl")]
    assert steps == list(range(3, STEPS + 1, 3))


@pytest.fixture
def begun(tmp_path: Path, image_folder: Path) -> tuple[Path, dict[str, Any]]:
    """A run of a few steps that is done, and its flags."""
    flags = {**flags_of("dcgan-msn", image_folder), "steps": 8}
    train(tmp_path, flags, resume=False)
    return tmp_path, flags


def train(root: Path, flags: dict[str, Any], *, resume: bool) -> int | None:
    return launch.train_run("r", None, None, flags, resume=resume, dry_run=False, root=root, device="cpu").stopped


def test_resume_needs_no_flags_and_can_go_further(begun: tuple[Path, dict[str, Any]]) -> None:
    root, flags = begun
    train(root, {"steps": STEPS}, resume=True)
    resumed = final_state(root)
    train(root / "whole", {**flags, "steps": STEPS}, resume=False)
    same_bytes(resumed["generator"], final_state(root / "whole")["generator"])


def test_checkpoints_do_not_depend_on_what_the_process_did_before(tmp_path: Path, image_folder: Path) -> None:
    """Neither on torch's global random state, nor on whether an earlier start has resolved `--precision auto`."""
    flags = {**flags_of("dcgan-msn", image_folder), "steps": STEPS, "precision": "auto"}
    train(tmp_path / "whole", flags, resume=False)
    torch.rand(7)
    train(tmp_path / "parts", {**flags, "steps": 8}, resume=False)
    torch.rand(11)
    train(tmp_path / "parts", {"steps": STEPS}, resume=True)
    same_bytes(final_state(tmp_path / "parts"), final_state(tmp_path / "whole"))


def test_a_run_that_is_done_says_so(begun: tuple[Path, dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    root, _ = begun
    train(root, {}, resume=True)
    assert "r is done: step 8 of 8" in capsys.readouterr().err


def test_changed_settings_are_refused_with_a_diff(begun: tuple[Path, dict[str, Any]]) -> None:
    root, flags = begun
    with pytest.raises(UsageError, match="contradict the config of the run r") as error:
        train(root, {**flags, "norm": "sn", "g_lr": 1e-3, "steps": 50}, resume=True)
    assert "--norm: msn -> sn" in str(error.value) and "--g-lr: 0.0005 -> 0.001" in str(error.value)
    assert "--steps" not in str(error.value)


def test_other_images_are_refused(begun: tuple[Path, dict[str, Any]], image_folder: Path) -> None:
    root, _ = begun
    next(image_folder.rglob("*.png")).unlink()
    with pytest.raises(UserError, match=r"RUN r: the images differ from those at the start \(images\); restore them"):
        train(root, {"steps": STEPS}, resume=True)


def test_a_moved_set_is_the_same_set(begun: tuple[Path, dict[str, Any]], image_folder: Path) -> None:
    root, _ = begun
    moved = image_folder.rename(image_folder.with_name("elsewhere"))
    train(root, {"data": str(moved), "steps": 10}, resume=True)
    assert (root / "checkpoints" / "r" / "step-00000010.pt").exists()


def test_a_damaged_checkpoint_is_named_and_passed_over(
    begun: tuple[Path, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    root, _ = begun
    newest = root / "checkpoints" / "r" / "step-00000008.pt"
    newest.write_bytes(newest.read_bytes()[:1000])
    train(root, {}, resume=True)
    told = capsys.readouterr().err
    assert f"{newest}: is not a complete msn-gan checkpoint" in told and "resuming r at step 4 of 8" in told
    checkpoint.load_checkpoint(newest)
    assert newest.with_name("step-00000008.pt.refused").stat().st_size == 1000


def test_an_edited_config_is_told_and_not_followed(
    begun: tuple[Path, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    root, _ = begun
    path = root / "checkpoints" / "r" / "config.json"
    train(root, {"steps": 8}, resume=True)
    assert "config.json" not in capsys.readouterr().err
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "config": {**content["config"], "steps": 99, "g_lr": 0.5}}))
    train(root, {}, resume=True)
    told = capsys.readouterr().err
    assert f"{path} has --steps 99 --g-lr 0.5, the checkpoint does not" in told
    assert "r is done: step 8 of 8" in told


def test_refused_checkpoints_do_not_count_among_those_that_are_kept(begun: tuple[Path, dict[str, Any]]) -> None:
    root, _ = begun
    folder = root / "checkpoints" / "r"
    for step in (30, 40):
        checkpoint.checkpoint_path(folder, step).write_bytes(b"damaged")
    train(root, {"keep": 1}, resume=True)  # it is done, and pruned
    assert [path.name[-5:] for path in checkpoint.list_checkpoints(folder)] == ["08.pt", "30.pt", "40.pt"]
    train(root, {"steps": STEPS, "keep": 1}, resume=True)
    assert [path.name for path in checkpoint.list_checkpoints(folder)] == [f"step-{STEPS:08d}.pt"]
    assert final_state(root)["step"] == STEPS
    assert sorted(path.read_bytes() for path in folder.glob("*.refused")) == [b"damaged"] * 2


def test_a_run_killed_before_its_first_checkpoint_begins_again(tmp_path: Path, image_folder: Path) -> None:
    flags = flags_of("dcgan-msn", image_folder)
    run_and_kill(tmp_path, flags, ("save", 1), resume=False)
    assert not checkpoint.list_checkpoints(tmp_path / "checkpoints" / "r")
    train(tmp_path, {"steps": 4}, resume=True)
    assert checkpoint.list_checkpoints(tmp_path / "checkpoints" / "r")
    assert not list((tmp_path / "checkpoints" / "r").glob(".*"))


def test_an_existing_run_is_not_overwritten(begun: tuple[Path, dict[str, Any]]) -> None:
    root, flags = begun
    with pytest.raises(UsageError, match="RUN r: exists already .*--resume"):
        train(root, flags, resume=False)


def test_resume_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--resume: there is no run"):
        train(tmp_path, {}, resume=True)


def test_changed_flags_are_not_blamed_on_the_config_file(
    begun: tuple[Path, dict[str, Any]], image_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, _ = begun
    moved = image_folder.rename(image_folder.with_name("elsewhere"))
    train(root, {"data": str(moved), "steps": 10, "keep": 2, "log_every": 5}, resume=True)
    assert "config.json" not in capsys.readouterr().err
    path = root / "checkpoints" / "r" / "config.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "config": {**content["config"], "steps": 99, "keep": 5}}))
    train(root, {"steps": 12}, resume=True)
    told = capsys.readouterr().err
    assert f"{path} has --keep 5, the checkpoint does not" in told and "--steps 99" not in told


@pytest.mark.parametrize("marked", [True, False])
def test_lost_checkpoints_are_noticed(begun: tuple[Path, dict[str, Any]], marked: bool) -> None:
    """Also in a run of an older version, whose config.json does not say that there were some."""
    root, _ = begun
    folder = root / "checkpoints" / "r"
    for path in checkpoint.list_checkpoints(folder):
        path.unlink()
    content = json.loads((folder / "config.json").read_text())
    if not marked:
        (folder / "config.json").write_text(json.dumps({key: content[key] for key in content if key != "checkpointed"}))
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(
        UserError, match=r"RUN r: its checkpoints are missing in .*r, although it was trained to step 8"
    ):
        train(root, {}, resume=True)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_a_signal_during_the_last_step_stops_a_run_that_is_done(
    call: Call, image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Trainer.train_step

    def interrupted(trainer: Trainer) -> None:
        step(trainer)
        if trainer.step == trainer.config.steps:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Trainer, "train_step", interrupted)
    code, told = call("train", "r", *SMALL, "--data", image_folder)
    assert code == 130 and "done: samples are in" in told and "resume with" not in told


def test_a_config_file_is_read_once(begun: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be a pipe."""
    root, _ = begun
    reads: list[Path] = []
    monkeypatch.setattr(launch, "read_config_file", lambda path: reads.append(path) or {"steps": 9})
    launch.train_run("r", None, Path("c.json"), {}, resume=True, dry_run=False, root=root, device="cpu")
    assert reads == [Path("c.json")] and (root / "checkpoints" / "r" / "step-00000009.pt").exists()
