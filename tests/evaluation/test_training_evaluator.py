"""Scores that are taken while a run trains."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from gan.config.resolve import resolve_config
from gan.config.train_config import TrainConfig
from gan.data.image_set import ImageSet
from gan.errors import UsageError
from gan.evaluation import training_evaluator
from gan.metrics.frechet import count_warning
from gan.metrics.protocol import Protocol
from gan.runs import checkpoint
from gan.runs import log as runlog
from gan.runs.run_dir import RunDirectory
from gan.runtime import Runtime
from gan.training import train as launch
from gan.training.loop import run_training_loop
from gan.training.trainer import Trainer
from tests.helpers.reports import ask, trained


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run that is scored while it trains."""
    root = tmp_path_factory.mktemp("scored")
    trained(root, channels=1, report_every=2, report_num=30, steps=6, keep=1)
    return RunDirectory("r", root)


def test_scores_are_logged_and_the_best_is_kept(run: RunDirectory) -> None:
    log = runlog.read_log(run.checkpoints / "log.jsonl")
    scored = {entry["step"]: entry["scores"] for entry in log if "scores" in entry}
    assert list(scored) == [2, 4, 6]
    best = min(scored, key=lambda step: scored[step]["fid"])
    told = json.loads((run.checkpoints / "best.json").read_text())
    assert told["checkpoint"] == f"step-{best:08d}.pt" and told["fid"] == scored[best]["fid"]
    assert Protocol.from_json(told["protocol"]).ema is True
    kept = [path.name for path in checkpoint.list_checkpoints(run.checkpoints)]
    assert kept == sorted({told["checkpoint"], "step-00000006.pt"})


def test_scores_have_the_warnings_of_report(run: RunDirectory, tmp_path: Path) -> None:
    """A FID of 30 images misleads as much in the log as in a report."""
    (entry,) = [entry for step, entry in training_evaluator.logged_scores(run).items() if step == 6]
    record = ask(tmp_path / "out", run.checkpoints / "step-00000006.pt", num=30, metrics=("fid", "is"))
    (result,) = record["results"]
    assert entry["warnings"] == result["warnings"] and "FID from 30 images is far too high" in entry["warnings"][-1]
    older = {key: value for key, value in entry.items() if key != "warnings"}
    assert training_evaluator.logged_warnings(older) == [count_warning(30, 0)]
    assert training_evaluator.logged_warnings(entry) == entry["warnings"]


def test_warnings_are_said_once_for_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained(tmp_path, channels=1, report_every=2, report_num=30, steps=4)
    told = capsys.readouterr().err
    assert told.count("step 2: FID") == told.count("step 4: FID") == 1
    assert told.count("is far too high") == 1 and told.index("step 2: FID") < told.index("is far too high")


def test_they_are_those_of_report(run: RunDirectory, tmp_path: Path) -> None:
    scored = training_evaluator.logged_scores(run)[6]["scores"]
    record = ask(tmp_path / "out", run.checkpoints / "step-00000006.pt", num=30, metrics=("fid", "is"))
    assert {name: record["results"][0][name] for name in scored} == scored


def test_a_score_that_was_missed_is_made_up(run: RunDirectory, tmp_path: Path) -> None:
    """A run killed between its last checkpoint and its score."""
    whole = (run.checkpoints / "log.jsonl").read_text()
    lines = whole.splitlines(keepends=True)
    assert "scores" in lines[-1]
    (run.checkpoints / "log.jsonl").write_text("".join(lines[:-1]))
    for _ in range(2):
        launch.train_run("r", None, None, {}, resume=True, dry_run=False, root=run.root, device="cpu")
        assert (run.checkpoints / "log.jsonl").read_text() == whole


def test_scoring_changes_nothing_of_the_run(
    tmp_path: Path, runtime: Runtime, tiny: Callable[..., TrainConfig], image_set: Callable[..., ImageSet]
) -> None:
    states, drawn = [], []
    for every in (0, 1):
        run = RunDirectory(f"r{every}", tmp_path)
        run.create()
        settings = tiny(report_every=every, report_num=20, features="digits", channels=1)
        data = image_set(channels=1)
        job = Trainer(settings, runtime, data)
        torch.manual_seed(1)
        on_snapshot = None
        if every:
            extractor = training_evaluator.training_extractor(settings, runtime.device)
            on_snapshot = training_evaluator.TrainingEvaluator(settings, run, extractor, data, 0, metrics=("fid", "is"))
        run_training_loop(job, run, on_snapshot=on_snapshot)
        states.append(job.state())
        drawn.append(torch.get_rng_state())
    assert torch.equal(*drawn)
    for part in ("generator", "discriminator", "average"):
        for name, value in states[0][part].items():
            assert torch.equal(value, states[1][part][name]), name
    assert {2, 3, 4} <= set(training_evaluator.logged_scores(RunDirectory("r1", tmp_path)))


def test_a_recipe_scores_its_own_data_only() -> None:
    assert resolve_config(None, {}).report_every == 1000
    assert resolve_config(None, {"data": "cats.zip"}).report_every == 0
    assert resolve_config(None, {"data": "cats.zip", "report_every": 9}).report_every == 9


def test_metrics_of_the_training_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They are in the log, in TensorBoard and in best.json, and those of `report`."""
    trained(
        tmp_path, channels=1, report_every=2, report_num=40, steps=2, report_metrics=("fid", "fid-infinity", "copies")
    )
    run = RunDirectory("r", tmp_path)
    scores = training_evaluator.logged_scores(run)[2]["scores"]
    assert list(scores) == ["fid", "fid_infinity", "fid_infinity_interval", "auth_pct"]
    assert "step 2: FID" in (told := capsys.readouterr().err) and ", FID∞ " in told
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run.checkpoints)).Reload()
    assert {"scores/fid_infinity", "scores/auth_pct"} <= {*events.Tags()["scalars"]}
    best = json.loads((run.checkpoints / "best.json").read_text())
    assert best["fid_infinity"] == scores["fid_infinity"]
    record = ask(tmp_path / "out", run.checkpoints / "step-00000002.pt", num=40, metrics=("fid-infinity", "copies"))
    assert record["results"][0]["fid_infinity"] == scores["fid_infinity"]


def test_metrics_without_fid_are_refused() -> None:
    with pytest.raises(UsageError, match="--report-metrics kid: add fid"):
        TrainConfig(report_metrics=("kid",))
    with pytest.raises(UsageError, match="--report-metrics speed: choose from fid, is, kid, pr, fid-infinity"):
        TrainConfig(report_metrics=("fid", "speed"))
