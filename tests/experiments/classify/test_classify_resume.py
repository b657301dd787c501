"""An experiment that is killed at any moment and resumed ends with the same bytes as an uninterrupted one."""

from __future__ import annotations

import json
import random
import signal
from pathlib import Path
from typing import Any

import pytest

from gan.errors import UserError
from gan.experiments.classify.experiment import run_classification
from gan.runs import checkpoint
from gan.runs import log as runlog
from tests.helpers.runs import classify_to_end, random_moment, signalled_exit_code
from tests.helpers.states import same_bytes

# Per training 12 steps in 3 epochs; the colour images are shifted and mirrored.
FLAGS: dict[str, Any] = {
    "model": "cnn3",
    "resolution": 12,
    "norms": ["bn", "msn"],
    "lr": [0.01],
    "epochs": 3,
    "batch": 16,
    "limit": 60,
    "channels": 3,
    "precision": "fp32",
}
TRAININGS = ("bn-lr0.01-seed0", "msn-lr0.01-seed0")
TIMES = {"seconds", "images_per_second", "step_seconds"}


def outcome(root: Path) -> dict[str, Any]:
    """Return all outputs of an experiment, without times."""
    outputs = {}
    for name in TRAININGS:
        folder = root / "checkpoints" / "r" / name
        result = json.loads((folder / "result.json").read_text())
        del result["seconds"]
        log = [{key: entry[key] for key in entry.keys() - TIMES} for entry in runlog.read_log(folder / "log.jsonl")]
        files = sorted(path.name for path in folder.iterdir() if "tfevents" not in path.name)
        assert files == ["classifier.pt", "log.jsonl", "result.json"]
        outputs[name] = {"file": (folder / "classifier.pt").read_bytes(), "result": result, "log": log}
    return outputs


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Outputs of an uninterrupted experiment."""
    root = tmp_path_factory.mktemp("whole")
    assert classify_to_end(root, FLAGS)
    return outcome(root)


SGD = {**FLAGS, "precision": "bf16", "optimizer": "sgd"}


@pytest.mark.parametrize(
    "flags", [pytest.param(FLAGS, id="adam"), pytest.param(SGD, id="sgd-bf16", marks=pytest.mark.slow)]
)
def test_killed_and_begun_again_is_never_stopped(flags: dict[str, Any], whole: dict[str, Any], tmp_path: Path) -> None:
    if flags is not FLAGS:
        assert classify_to_end(tmp_path / "whole", flags)
        whole = outcome(tmp_path / "whole")
    rng = random.Random(0)
    moments = [("save", 2), ("renamed", 3), ("save", 13), *(random_moment(rng, 0.3) for _ in range(2))]
    killed = sum(not classify_to_end(tmp_path / "killed", flags, moment) for moment in moments)
    assert killed >= 3
    assert classify_to_end(tmp_path / "killed", flags)
    same_bytes(outcome(tmp_path / "killed"), whole)
    assert not list((tmp_path / "killed").rglob("*.partial")) and not list((tmp_path / "killed").rglob("step-*"))


def test_ctrl_c_saves_and_the_same_command_goes_on(whole: dict[str, Any], tmp_path: Path) -> None:
    given = {name: ",".join(map(str, value)) if isinstance(value, list) else value for name, value in FLAGS.items()}
    flags = [str(word) for name, value in given.items() for word in (f"--{name}", value)]
    assert signalled_exit_code(tmp_path, signal.SIGINT, flags, "classify") == 130
    folder = tmp_path / "checkpoints" / "r" / TRAININGS[0]
    assert [path.name for path in checkpoint.list_checkpoints(folder)] == ["step-00000003.pt"]
    assert classify_to_end(tmp_path, {})  # settings may be left out
    same_bytes(outcome(tmp_path), whole)


def test_a_lost_checkpoint_is_noticed(tmp_path: Path) -> None:
    """Starting again would overwrite the log of the epochs before."""
    assert not classify_to_end(tmp_path, FLAGS, ("renamed", 10))
    folder = tmp_path / "checkpoints" / "r" / TRAININGS[0]
    before = (folder / "log.jsonl").read_bytes()
    for path in checkpoint.list_checkpoints(folder):
        path.unlink()
    with pytest.raises(UserError, match="bn-lr0.01-seed0: its checkpoint is missing, although it was trained to epoch"):
        run_classification("r", {}, root=tmp_path)
    assert (folder / "log.jsonl").read_bytes() == before
