"""Messages that refuse a file say which version wrote it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gan import __version__
from gan.errors import UserError
from gan.experiments.compare.experiment import run_comparison
from gan.experiments.provenance import refuse_damaged
from gan.metrics.protocol import Protocol, require_same_protocol
from gan.metrics.reference import load_statistics
from gan.models.classifiers import classifier_from_state
from gan.runs import checkpoint
from gan.runs.checkpoint import train_config_of
from gan.runs.resume import load_resumed
from gan.runs.run_dir import RunDirectory
from gan.utils.written_by import written_by

NEWER = {"program": "msn-gan 9.8.7"}
NEWER_JSON = {"versions": {"msn-gan": "9.8.7", "git": "0123456789abcdef"}}
BOTH = f"written by msn-gan 9.8.7, this is msn-gan {__version__}"


@pytest.mark.parametrize(
    "content, expected",
    [
        (NEWER, "msn-gan 9.8.7"),
        (NEWER_JSON, "msn-gan 9.8.7 (commit 0123456789ab)"),
        ({"versions": {"msn-gan": "9.8.7", "git": "unknown"}}, "msn-gan 9.8.7"),
        *(
            (content, "an unknown version of msn-gan")
            for content in ({}, [], None, {"versions": 3}, {"program": "a\nb"})
        ),
    ],
)
def test_the_version_in_a_file(content: Any, expected: str) -> None:
    assert written_by(content) == f"written by {expected}, this is msn-gan {__version__}"


def newer_schema(folder: Path) -> None:
    with pytest.MonkeyPatch.context() as newer:
        newer.setattr(checkpoint, "SCHEMA", 99)
        checkpoint.save_checkpoint(folder / "x.pt", NEWER)
    checkpoint.load_checkpoint(folder / "x.pt")


def config_of_a_run(folder: Path) -> None:
    train_config_of({**NEWER, "kind": "gan", "config": {"unheard_of": 1}}, folder / "x.pt")


def newest_of_a_run(folder: Path) -> None:
    """An earlier checkpoint that can be read is not taken instead."""
    checkpoint.save_checkpoint(folder / "step-00000001.pt", {"kind": "gan"})
    with pytest.MonkeyPatch.context() as newer:
        newer.setattr(checkpoint, "SCHEMA", 99)
        checkpoint.save_checkpoint(folder / "step-00000002.pt", NEWER)
    checkpoint.newest_checkpoint(folder)


def run_without_checkpoints(folder: Path) -> None:
    run = RunDirectory("r", folder)
    run.create()
    run.config_path.write_text(json.dumps({"config": {"unheard_of": 1}, "versions": {"msn-gan": "9.8.7"}}))
    load_resumed(run)


def classifier(folder: Path) -> None:
    state = {"kind": "classifier", "model": "vgg99", "norm": "sn", "classes": ["a"], "channels": 1, "resolution": 32}
    classifier_from_state({**NEWER, **state, "weights": {}}, folder / "x.pt")


def weights_of_a_network(folder: Path) -> None:
    checkpoint.restore_weights(torch.nn.Linear(2, 3), {**NEWER, "generator": {}}, "generator", folder / "x.pt")


def comparison(folder: Path) -> None:
    path = folder / "checkpoints/r/config.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"kind": "compare", "config": {"unheard_of": 1}, "versions": {"msn-gan": "9.8.7"}}))
    run_comparison("r", None, None, {}, root=folder, device="cpu")


def result_of_a_training(folder: Path) -> None:
    (folder / "result.json").write_text(json.dumps({"versions": {"msn-gan": "9.8.7"}}))
    with refuse_damaged(folder):
        json.loads((folder / "result.json").read_text())["diverged"]


def result_of_a_classifier(folder: Path) -> None:
    """Its folder has no config.json, that of the experiment is one above."""
    (folder / "config.json").write_text(json.dumps({"versions": {"msn-gan": "9.8.7"}}))
    with refuse_damaged(folder / "sn-seed0"):
        raise KeyError("diverged")


def statistics(folder: Path) -> None:
    record = json.dumps({"protocol": {"unheard_of": 1}, "versions": {"msn-gan": "9.8.7"}})
    np.savez(folder / "x.npz", mu=np.zeros(2), sigma=np.eye(2), msn_gan=record)
    load_statistics(folder / "x.npz")


@pytest.mark.parametrize(
    "refused, remedy",
    [
        (newer_schema, "upgrade msn-gan"),
        (newest_of_a_run, "upgrade msn-gan"),
        (run_without_checkpoints, "use that version, or remove the folder"),
        (config_of_a_run, "use that version, or train again under another name"),
        (weights_of_a_network, "use that version, or train again under another name"),
        (classifier, "use that version, or train the classifier again"),
        (comparison, "use that version, or choose another name"),
        (result_of_a_training, "remove this folder to train it again"),
        (result_of_a_classifier, "remove this folder to train it again"),
        (statistics, "compute them again with `msn-gan data stats`"),
    ],
)
def test_a_refusal_says_what_wrote_the_file(refused: Callable[[Path], None], remedy: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        refused(tmp_path)
    message = str(caught.value)
    assert BOTH in message and message.endswith(remedy) and message.startswith(str(tmp_path))
    assert len(message.splitlines()) == 1


def test_a_checkpoint_records_the_version(tmp_path: Path) -> None:
    checkpoint.save_checkpoint(tmp_path / "x.pt", {"kind": "gan"})
    assert torch.load(tmp_path / "x.pt", weights_only=True)["program"] == f"msn-gan {__version__}"


def test_scores_of_two_scoring_versions() -> None:
    protocol = Protocol("digits", "0" * 64, "layer", "rule", "fp32", engine=1, versions={"msn-gan": "0.1.0"})
    newer = replace(protocol, engine=protocol.engine + 1, versions={"msn-gan": "9.8.7"})
    with pytest.raises(UserError, match=r"scoring versions: 2 and 1 \(msn-gan 9.8.7 and 0.1.0\)"):
        require_same_protocol(newer, protocol, ("a", "b"))
    early = replace(protocol, versions={})
    with pytest.raises(UserError, match=r"2 and 1 \(msn-gan 9.8.7 and unknown\)"):
        require_same_protocol(newer, early, ("a", "b"))
