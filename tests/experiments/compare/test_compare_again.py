"""Existing comparisons: stopped, extended or changed ones are resumed or refused."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from gan.errors import Diverged, UsageError, UserError
from gan.evaluation import training_evaluator
from gan.experiments.compare.experiment import run_comparison
from gan.training import train
from gan.training.trainer import Trainer
from gan.utils import files
from tests.conftest import TINY
from tests.helpers.comparisons import BOTH, RUN, SMALL, compare, states
from tests.helpers.states import same_bytes


def test_norms_and_seeds_can_be_added(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = {path: path.read_bytes() for path in (copy / RUN).glob("*/step-*.pt")}
    capsys.readouterr()
    record = compare(copy, norms=["none", "msn"])
    output = capsys.readouterr().err
    assert "r, 2 of 2: none, seed 1" in output and "of 3: " not in output
    assert [row["norm"] for row in record["rows"]] == ["none", "msn", "sn", "bn"] and len(record["trainings"]) == 8
    assert record["paired"][0]["norms"] == ["none", "msn"]
    assert {path: path.read_bytes() for path in kept} == kept
    more = compare(copy, norms=["msn", "sn"], seeds=3)  # seeds are counted for the norms that are asked for
    assert [result["folder"] for result in more["trainings"] if result["seed"] == 2] == ["msn-seed2", "sn-seed2"]
    assert more["paired"][0]["norms"] == ["msn", "sn"] and more["paired"][0]["seeds"] == 3
    assert more["planned"] == 12 and "**10 of 12 trainings done.**" in (copy / RUN / "report.md").read_text()


def test_contradictions_are_refused_with_a_diff(copy: Path) -> None:
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match="RUN r: exists already, and these settings would change it") as caught:
        compare(copy, **{**SMALL, "steps": 6, "g_lr": 0.01, "report_num": 30, "norms": ["wn"]})
    assert str(caught.value).splitlines()[1:] == [
        "  --steps: 4 -> 6",
        "  --g-lr: 0.0006 -> 0.01",
        "  --report-num: 20 -> 30",
    ]
    with pytest.raises(UsageError, match="these settings would change it.*\n  --lr-grid: False -> True"):
        compare(copy, lr_grid=True)
    with pytest.raises(UsageError, match="--preset msn-dcgan: the run r was started with --preset quickstart"):
        run_comparison("r", "msn-dcgan", None, {}, root=copy, device="cpu")
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before
    compare(copy, precision="auto", keep=2)  # what it meant when the run began; keep decides nothing


def test_another_network_of_scores_is_refused(copy: Path) -> None:
    log = copy / RUN / "sn-seed0" / "log.jsonl"
    text = log.read_text()
    weights = json.loads((copy / RUN / "report.json").read_text())["protocol"]["weights"]
    log.write_text(text.replace(weights, "0" * 64))
    for given in ({}, {"norms": ["wn"]}):
        with pytest.raises(
            UserError, match="cannot be compared: different weights: 000000000000 and|scored with another extractor"
        ):
            compare(copy, **given)
    assert not (copy / RUN / "wn-seed0").exists()
    log.write_text(text)
    assert len(compare(copy)["trainings"]) == 6


def test_missing_scores(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A missing last score is computed, an earlier one is reported."""
    log = copy / RUN / "sn-seed0" / "log.jsonl"
    whole = log.read_text()
    lines = [line for line in whole.splitlines(keepends=True) if '"scores"' not in line]
    log.write_text("".join(lines))
    (copy / "samples" / "r" / "msn-seed0" / "step-00000004.png").unlink()
    capsys.readouterr()
    record = compare(copy)
    assert "r, 1 of 1: sn, seed 0" in capsys.readouterr().err
    found = {result["folder"]: result for result in record["trainings"]}
    assert found["sn-seed0"]["missing"] == [2] and found["sn-seed0"]["curve"]["step"] == [4]
    assert log.read_text().splitlines()[-1] == whole.splitlines()[-1]
    assert record["warnings"] == [
        "sn-seed0 has no score at step 2; the curves omit it.",
        "No sample grid, so none is shown: msn-seed0.",
    ]


def test_folders_changed_by_hand(copy: Path) -> None:
    def refused(message: str) -> None:
        with pytest.raises(UserError, match=message):
            compare(copy)
        with pytest.raises(UserError, match=message):
            run_comparison("r", None, None, {}, root=copy, device="cpu", dry_run=True)

    names = [path.name for path in (copy / RUN).glob("*-seed?")]
    whole = states(copy, names)
    folder = copy / RUN / "msn-seed0"
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config.replace('"g_lr": 0.0006', '"g_lr": 0.5'))
    refused(r"msn-seed0: has other settings than the comparison \(--g-lr: 0.5 -> 0.0006\); remove this folder to train")
    (folder / "config.json").write_text("{")
    refused("msn-seed0/config.json: cannot be read .*; remove this folder")
    (folder / "config.json").write_text(config)
    (folder / "result.json").write_text("[]")
    refused(r"msn-seed0: damaged result.json \(.*; remove this folder")
    (folder / "result.json").unlink()
    (folder / "step-00000004.pt").write_bytes(b"no checkpoint")
    (folder / "step-00000002.pt").unlink(missing_ok=True)
    refused("msn-seed0: none of its checkpoints is complete; remove this folder")
    (folder / "step-00000004.pt").unlink()
    refused("RUN r/msn-seed0: its checkpoints are missing in .*msn-seed0, although it was trained to step 4")
    shutil.rmtree(folder)
    train.train_run("r/sn-seed0", None, None, {"steps": 6}, resume=True, dry_run=False, root=copy, device="cpu")
    refused(r"sn-seed0: has other settings than the comparison \(--steps: 6 -> 4\); remove this folder")
    config_path = copy / RUN / "sn-seed0" / "config.json"
    config_path.write_text(config_path.read_text().replace('"steps": 6', '"steps": 4'))
    refused("sn-seed0: was trained to step 6, past the planned 4; remove this folder")
    shutil.rmtree(copy / RUN / "sn-seed0")
    assert compare(copy)["warnings"] == []
    same_bytes(states(copy, names), whole)


def test_grids_of_a_removed_training_are_not_shown(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even if the new training diverges before its first grid."""
    for folder in ("sn-seed0", "msn-seed0"):
        shutil.rmtree(copy / RUN / folder)
    for step in (1, 3):
        shutil.copy(copy / "samples/r/sn-seed0/step-00000004.png", copy / f"samples/r/sn-seed0/step-0000000{step}.png")
    step = Trainer.train_step

    def exploding(self: Trainer) -> None:
        if (self.config.norm, self.step) == ("sn", 3):
            raise Diverged("step 4: the discriminator has diverged")
        step(self)

    monkeypatch.setattr(Trainer, "train_step", exploding)
    found = {result["folder"]: result for result in compare(copy, sample_every=4)["trainings"]}
    assert found["sn-seed0"]["diverged"]["step"] == 3 and found["sn-seed0"]["grid"] is None
    assert found["msn-seed0"]["grid"]["step"] == 4 and found["bn-seed0"]["grid"]["step"] == 4
    assert [path.name for path in (copy / "samples/r/sn-seed0").iterdir()] == ["real.png"]


def test_other_images_are_refused(tmp_path: Path, image_folder: Path) -> None:
    given = {**BOTH, "channels": 3, "data": str(image_folder), "features": "digits"}
    compare(tmp_path, **given)
    moved = image_folder.rename(image_folder.with_name("elsewhere"))
    next(moved.rglob("*.png")).unlink()
    with pytest.raises(
        UserError, match=r"RUN r: the images differ from those at the start \(24 of .*\); restore them, or choose"
    ):
        compare(tmp_path, data=str(moved), seeds=2)


def test_other_images_are_refused_when_all_is_done(tmp_path: Path, image_folder: Path) -> None:
    """Otherwise the commands in the report would name images that no training used."""
    compare(tmp_path, **{**BOTH, "channels": 3, "data": str(image_folder), "features": "digits"})
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match="--data nowhere: no such folder, zip or npz"):
        compare(tmp_path, data="nowhere")
    with pytest.raises(UserError, match="RUN r: the images differ from those at the start"):
        compare(tmp_path, data="digits")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    moved = image_folder.rename(image_folder.with_name("elsewhere"))
    assert f"--data {moved}" in compare(tmp_path, data=str(moved))["command"]  # the same images


def test_where_trainings_were_made_is_kept(copy: Path) -> None:
    """Each training keeps its own; config.json keeps that of the run's start."""
    path = copy / RUN / "msn-seed0" / "result.json"
    result = json.loads(path.read_text())
    assert result["runtime"]["threads"] >= 1 and result["versions"]["torch"]
    result["runtime"]["threads"], result["versions"]["torch"] = 64, "1.0.0"
    path.write_text(json.dumps(result))
    settings = copy / RUN / "config.json"
    settings.write_text(settings.read_text().replace(json.loads(settings.read_text())["versions"]["torch"], "0.9"))
    record = compare(copy, norms=["bn", "msn"])  # in another order
    assert json.loads(settings.read_text())["versions"]["torch"] == "0.9"
    found = {one["folder"]: one for one in record["trainings"]}
    assert found["msn-seed0"]["runtime"]["threads"] == 64 and found["msn-seed0"]["versions"]["torch"] == "1.0.0"
    assert found["bn-seed1"]["versions"]["torch"] not in ("0.9", "1.0.0")
    assert len(record["warnings"]) == 2
    text = (copy / RUN / "report.md").read_text()
    for words in (*record["warnings"], "64 threads", "torch 1.0.0"):
        assert words in text, words


def test_a_full_disk(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed write gives one message and leaves no partial file, and the same command resumes."""
    sync, calls = os.fsync, [0]
    failing = (3, 7, 10)

    def full(descriptor: int) -> None:
        calls[0] += 1
        if calls[0] in failing:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(files.os, "fsync", full)
    failed = 0
    for _ in failing:
        with pytest.raises((UserError, OSError), match="No space left on device"):
            compare(tmp_path, **BOTH)
        failed += 1
        assert not list(tmp_path.rglob("*.partial"))
    assert failed == len(failing)
    record = compare(tmp_path, **BOTH)
    assert len(record["trainings"]) == 2 and record["warnings"] == []
    same_bytes(states(tmp_path, ["sn-seed0", "msn-seed0"]), states(made, ["sn-seed0", "msn-seed0"]))


@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_while_scoring(
    presses: int, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real, calls = training_evaluator.score, []

    def interrupted(*args: Any, **options: Any) -> dict[str, Any]:
        calls.append(1)
        if len(calls) == 3:
            for _ in range(presses):
                os.kill(os.getpid(), signal.SIGINT)
        return real(*args, **options)

    monkeypatch.setattr(training_evaluator, "score", interrupted)
    if presses == 1:
        assert run_comparison("r", None, None, BOTH, root=tmp_path, device="cpu") == signal.SIGINT
        output = capsys.readouterr()
        assert "msn, seed 0: stopped at step 2 of 4, checkpoint saved" in output.err
        last = output.err.rstrip().splitlines()[-1]
        assert last.startswith("stopped, checkpoint saved; resume with: ")
        assert last.endswith(f" compare r --out {tmp_path} --device cpu")
        assert "1 of 2 trainings done." in output.out
    else:
        with pytest.raises(SystemExit):
            run_comparison("r", None, None, BOTH, root=tmp_path, device="cpu")
    record = compare(tmp_path)
    assert [result["missing"] for result in record["trainings"]] == [[], []]
    same_bytes(states(tmp_path, ["sn-seed0", "msn-seed0"]), states(made, ["sn-seed0", "msn-seed0"]))
    first = json.loads((made / RUN / "report.json").read_text())["trainings"][:2]
    for again, whole in zip(record["trainings"], first, strict=True):
        assert {**again["final"], "seconds": 0} == {**whole["final"], "seconds": 0}


def test_a_run_of_another_command(tmp_path: Path) -> None:
    train.train_run("r", None, None, {**TINY, "channels": 1}, resume=False, dry_run=False, root=tmp_path, device="cpu")
    with pytest.raises(UsageError, match="RUN r: was made by `train` .*choose another name"):
        compare(tmp_path, **BOTH)
