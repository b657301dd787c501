"""Code never runs because a file names it: checkpoints, config files, runs, classifiers, statistics, image sets."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pytest import MonkeyPatch

from gan.config import plugins
from gan.runs import checkpoint
from tests.helpers.commands import Call
from tests.helpers.own_code import MARKER, MARKING, TRAIN

FIELDS = {"norm": "evil.py:f", "loss": "evil.py:f", "network": "evil.py:f", "augment": ["evil.py:f"]}
FEATURES = {"report_features": "evil.py:f", "report_every": 2}
MODULE = {"norm": "evil:f", "loss": "evil:f", "network": "evil:f", "augment": ["evil:f"]}
RUN = Path("checkpoints/r")


@pytest.fixture
def harmless(call: Call, tmp_path: Path, monkeypatch: MonkeyPatch) -> Callable[..., str]:
    """Run a command; returns what it told. The code of evil.py must not have run."""
    monkeypatch.setattr(plugins, "_allowed", set())
    monkeypatch.setattr(plugins, "_loaded", {})
    monkeypatch.syspath_prepend(str(tmp_path))
    Path("evil.py").write_text(MARKING + "def f(layer): return layer\n")

    def run(*arguments: object) -> str:
        code, told = call(*arguments)
        assert not MARKER.exists(), arguments
        assert "bug" not in told, told
        return told

    return run


def edit_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def edit_checkpoint(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    state = checkpoint.load_checkpoint(path)
    change(state)
    checkpoint.save_checkpoint(path, state)


@pytest.mark.parametrize("fields", [FIELDS, FEATURES, MODULE], ids=["file", "features", "module"])
@pytest.mark.parametrize("recorded", [False, True])
def test_a_checkpoint(harmless: Callable[..., str], fields: dict[str, Any], recorded: bool) -> None:
    harmless("train", "r", *TRAIN)
    record = {"plugins": {"evil.py:f": {"sha256": "0" * 64, "version": None}}} if recorded else {}

    def change(state: dict[str, Any]) -> None:
        state["config"].update(fields)
        state.update(record)

    for path in RUN.glob("*.pt"):
        edit_checkpoint(path, change)
    edit_json(RUN / "config.json", lambda content: content["config"].update(fields))
    assert "to the command" in harmless("train", "r", "--resume", "--steps", "6")
    assert "to the command" in harmless("train", "r", "--resume", "--steps", "6", "--dry-run")
    harmless("sample", RUN, "--out", "a.png")
    harmless("report", RUN, "--num", "20", "--metrics", "fid")
    harmless("export", RUN, "--format", "safetensors")
    harmless("export", RUN, "--format", "safetensors", "--what", "discriminator")
    harmless("runs")
    harmless("sample", RUN, "--out", "b.png", "--network", "dcgan")
    assert "to the command" in harmless("train", "s", "--config", RUN / "config.json")
    assert "to the command" in harmless("compare", "c", "--config", RUN / "config.json", "--report-every", "2")


def test_a_run_without_a_checkpoint(harmless: Callable[..., str]) -> None:
    harmless("train", "r", *TRAIN)
    for path in [*RUN.glob("*.pt"), RUN / "log.jsonl"]:
        path.unlink()

    def change(content: dict[str, Any]) -> None:
        content["config"].update(FIELDS)
        del content["checkpointed"]

    edit_json(RUN / "config.json", change)
    assert "to the command" in harmless("train", "r", "--resume")


def test_a_comparison(harmless: Callable[..., str]) -> None:
    flags = [word for word in TRAIN if word not in ("--sample-every", "100")]
    harmless("compare", "r", *flags, "--norms", "none", "--seeds", "1", "--report-every", "4")

    def change(content: dict[str, Any]) -> None:
        content["config"]["norms"] = ["none", "evil.py:f"]
        content["config"]["train"].update({key: FIELDS[key] for key in ("loss", "network", "augment")})
        content["plugins"] = {"evil.py:f": {"sha256": "0" * 64, "version": None}}

    edit_json(RUN / "config.json", change)
    for path in RUN.glob("*/config.json"):
        edit_json(path, lambda content: content["config"].update(FIELDS))
    for path in RUN.glob("*/result.json"):
        edit_json(path, lambda content: content.update(plugins={"evil.py:f": {"sha256": "0"}}, norm="evil.py:f"))
    for path in RUN.glob("*/*.pt"):
        edit_checkpoint(path, lambda state: state["config"].update(FIELDS))
    harmless("compare", "r")
    harmless("compare", "r", "--seeds", "2")
    harmless("compare", "r", "--seeds", "2", "--dry-run")
    harmless("report", RUN / "none-seed0", "--num", "20", "--metrics", "fid")
    harmless("runs")


def test_a_classification_and_its_classifier(harmless: Callable[..., str]) -> None:
    flags = "--model resnet18 --epochs 1 --limit 40 --batch 20 --resolution 8 --precision fp32".split()
    harmless("classify", "r", *flags, "--norms", "none")
    file = next(RUN.glob("*/classifier.pt"))
    edit_checkpoint(file, lambda state: state.update(norm="evil.py:f"))
    edit_json(RUN / "config.json", lambda content: content["config"].update(norms=["none", "evil.py:f"]))
    assert "add --norms none,evil.py:f to the command" in harmless("classify", "r")
    features = ["--features", f"classifier:{file}"]
    stats = ["data", "stats", "digits", "--out", "s.npz", "--resolution", "8"]
    assert "to the command" in harmless(*stats, *features)
    assert "to the command" in harmless("export", file, "--format", "safetensors")
    assert "under a norm of your own" in harmless("train", "t", *TRAIN, "--report-every", "2", *features)


def test_statistics(harmless: Callable[..., str]) -> None:
    harmless("train", "r", *TRAIN)
    harmless("data", "stats", "digits", "--out", "s.npz", "--resolution", "32", "--channels", "1")
    with np.load("s.npz") as entries:
        content = dict(entries)
    record = json.loads(str(content["msn_gan"]))
    record["protocol"]["extractor"] = "evil.py:f"
    np.savez("s.npz", **{**content, "msn_gan": json.dumps(record)})
    assert "to the command" in harmless("report", RUN, "--num", "20", "--ref", "s.npz")


def test_an_image_set(harmless: Callable[..., str]) -> None:
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save("0.png")
    with zipfile.ZipFile("images.zip", "w") as archive:
        for number in range(8):
            archive.write("0.png", f"a/{number}.png")
        archive.write("evil.py", "a/evil.py")
        archive.writestr("dataset.json", json.dumps({"labels": None, "norm": "evil.py:f", "features": "evil.py:f"}))
    harmless("data", "info", "images.zip")
    harmless("train", "r", *TRAIN, "--data", "images.zip")


def test_code_that_is_named_runs(call: Call, tmp_path: Path, monkeypatch: MonkeyPatch) -> None:
    """The mark is left by code that runs, or else the tests above would prove nothing."""
    Path(tmp_path / "evil.py").write_text(MARKING + "def f(layer): return layer\n")
    assert call("train", "r", *TRAIN, "--norm", "evil.py:f")[0] == 0
    assert MARKER.exists()
