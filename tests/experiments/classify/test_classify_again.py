"""Existing experiments: stopped, extended or changed ones are resumed or refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from gan.errors import UsageError, UserError
from gan.experiments.classify import loop
from gan.experiments.classify.experiment import run_classification
from gan.experiments.classify.trainer import ClassifierTrainer
from tests.helpers.classifications import RUN, SMALL, Run, before_each_step


def test_trainings_can_be_added(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    first = run(**SMALL, norms=["none"], lr=[0.01])
    result = (RUN / "none-lr0.01-seed0" / "result.json").read_bytes()
    capsys.readouterr()
    second = run(**SMALL, norms=["msn", "none"], lr=[0.01], seeds=2)
    assert "r: cnn3, 3 to train, 2 epochs (4 steps) each" in capsys.readouterr().err
    assert (RUN / "none-lr0.01-seed0" / "result.json").read_bytes() == result
    assert [row["norm"] for row in second["rows"]] == ["none", "msn"] and len(second["trainings"]) == 4
    assert second["trainings"][0] == first["trainings"][0]
    third = run(norms=["msn"])  # a part of what is there: nothing is lost
    assert len(third["trainings"]) == 4
    assert json.loads((RUN / "config.json").read_text())["config"]["norms"] == ["none", "msn"]


def test_a_checkpoint_of_a_finished_training_is_removed(run: Run) -> None:
    """Its process was killed before it did this; a dry run, which has no lock, leaves it there."""
    given = {**SMALL, "norms": ["none"], "lr": [0.01]}
    run(**given)
    left = RUN / "none-lr0.01-seed0" / "step-00000004.pt"
    left.touch()
    assert run_classification("r", given, device="cpu", dry_run=True) is None and left.exists()
    run(**given)
    assert not left.exists()


def test_two_processes_may_remove_the_same_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop.checkpoint, "list_checkpoints", lambda folder: [folder / "step-00000004.pt"])
    loop.remove_checkpoints(tmp_path)


def test_changed_settings_are_refused_with_a_diff(run: Run) -> None:
    run(**SMALL, norms=["none"], lr=[0.01])
    before = {path: path.read_bytes() for path in RUN.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match="RUN r: exists already, and these settings would change it") as caught:
        run(**{**SMALL, "epochs": 3, "model": "vgg7", "resolution": 32, "norms": ["msn"]})
    assert str(caught.value).splitlines()[1:] == [
        "  --model: cnn3 -> vgg7",
        "  --resolution: 8 -> 32",
        "  --epochs: 2 -> 3",
    ]
    assert {path: path.read_bytes() for path in RUN.rglob("*") if path.is_file()} == before
    run(**SMALL, norms=["none"])
    run(precision="auto")  # what it meant when the run began


def test_other_images_are_refused(run: Run, image_folder: Path, tmp_path: Path) -> None:
    tested = shutil.copytree(image_folder, tmp_path / "tested")
    (next(tested.rglob("*.png"))).unlink()
    sets = {"data": str(image_folder), "test_data": str(tested)}
    settings = {**SMALL, "batch": 12, "limit": 24, "norms": ["none"], "lr": [0.01], **sets}
    run(**settings)
    moved = tested.rename(tmp_path / "elsewhere")
    run(test_data=str(moved), norms=["msn"])
    next(moved.rglob("*.png")).unlink()
    with pytest.raises(
        UserError, match=r"RUN r: the test images differ from those at the start \(23 of tested\); restore them"
    ):
        run(norms=["bn"])


@pytest.mark.parametrize("kind", ["data", "test_data"])
def test_other_images_are_refused_when_all_is_done(run: Run, image_folder: Path, tmp_path: Path, kind: str) -> None:
    """Otherwise the record would name images that no training used."""
    tested = shutil.copytree(image_folder, tmp_path / "tested")
    sorted(tested.rglob("*.png"))[0].unlink()
    sets = {"data": str(image_folder), "test_data": str(tested)}
    run(**{**SMALL, "batch": 12, "limit": 24, "norms": ["none"], "lr": [0.01], **sets})
    before = {path: path.read_bytes() for path in RUN.rglob("*") if path.is_file()}
    other = shutil.copytree(sets[kind], tmp_path / "other")
    sorted(other.rglob("*.png"))[-1].unlink()
    for elsewhere, message in (
        ("nowhere", "nowhere: no such folder, zip or npz"),
        (str(other), "images differ from those at the start"),
    ):
        with pytest.raises(UserError, match=message):
            run(**{kind: elsewhere})
    assert {path: path.read_bytes() for path in RUN.rglob("*") if path.is_file()} == before
    moved = Path(sets[kind]).rename(tmp_path / "elsewhere")
    assert run(**{kind: str(moved)})["config"][kind] == str(moved)  # the same images


def test_where_trainings_were_made_is_kept(run: Run) -> None:
    """Each training keeps its own; config.json keeps that of the run's start."""
    first = run(**SMALL, norms=["none", "bn"], lr=[0.01])
    assert first["warnings"] == [] and "Not all trainings" not in (RUN / "classify.md").read_text()
    path = RUN / "none-lr0.01-seed0" / "result.json"
    result = json.loads(path.read_text())
    result["runtime"]["threads"], result["versions"]["torch"] = 64, "1.0.0"
    path.write_text(json.dumps(result))
    config = json.loads((RUN / "config.json").read_text())
    config["versions"]["torch"] = "0.9"
    (RUN / "config.json").write_text(json.dumps(config))
    again = run(norms=["bn", "none"])
    assert json.loads((RUN / "config.json").read_text())["versions"] == config["versions"]
    assert [one["versions"]["torch"] for one in again["trainings"]] == [
        "1.0.0",
        first["trainings"][1]["versions"]["torch"],
    ]
    text = (RUN / "classify.md").read_text()
    for words in (
        "precision or number of threads (threads);",
        "the same versions (torch);",
        "64 threads",
        "torch 1.0.0",
    ):
        assert words in text, words


def test_results_of_before_trainings_said_where_they_were_made(run: Run) -> None:
    run(**SMALL, norms=["none"], lr=[0.01])
    path = RUN / "none-lr0.01-seed0" / "result.json"
    result = json.loads(path.read_text())
    old = {key: result.pop(key) for key in ("runtime", "versions")}
    path.write_text(json.dumps(result))
    config = json.loads((RUN / "config.json").read_text())
    (RUN / "config.json").write_text(
        json.dumps({**config, "runtime": {"device": "cpu", "precision": "fp32", "threads": 7}})
    )
    again = run()
    assert again["trainings"][0]["versions"] == old["versions"] and again["trainings"][0]["runtime"]["threads"] == 7
    assert "cpu, fp32, 7 threads" in (RUN / "classify.md").read_text()


def test_a_run_of_another_command(run: Run) -> None:
    RUN.mkdir(parents=True)
    (RUN / "config.json").write_text(json.dumps({"config": {"preset": "quickstart"}}))
    with pytest.raises(UsageError, match="RUN r: was made by `train` .checkpoints/r.; choose another name"):
        run(**SMALL)
    (RUN / "config.json").write_text("{")
    with pytest.raises(UserError, match="config.json: cannot be read"):
        run(**SMALL)


def test_a_stopped_experiment_shows_what_is_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(trainer: ClassifierTrainer) -> None:
        if (trainer.training.norm, trainer.step) == ("bn", 2):
            os.kill(os.getpid(), signal.SIGINT)

    before_each_step(monkeypatch, interrupt)
    given = {**SMALL, "norms": ["none", "bn", "msn"], "lr": [0.01]}
    assert run_classification("r", given, root=tmp_path, device="cpu") == signal.SIGINT
    output = capsys.readouterr()
    assert "bn, lr 0.01, seed 0: stopped at step 3 of 4, checkpoint saved" in output.err
    last = output.err.rstrip().splitlines()[-1]
    assert last.startswith("stopped, checkpoint saved; resume with: ")
    assert last.endswith(f" classify r --out {tmp_path} --device cpu")
    assert "1 of 3 trainings done." in output.out
    assert "**1 of 3 trainings done.**" in (tmp_path / RUN / "classify.md").read_text()
    assert run_classification("r", {}, root=tmp_path, device="cpu") is None
    assert "bn, lr 0.01, seed 0: resuming at step 3 of 4" in capsys.readouterr().err
