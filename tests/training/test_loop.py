"""The loop around the steps: files, stops, and what is kept when training diverges."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from gan.config.train_config import TrainConfig
from gan.data.image_set import ImageSet
from gan.dynamics.callback import DynamicsCallback
from gan.errors import Diverged
from gan.runs import checkpoint, log
from gan.runs.run_dir import RunDirectory
from gan.runtime import Runtime
from gan.training import loop
from gan.training.loop import run_training_loop
from gan.training.trainer import Trainer
from gan.utils import environment

Make = Callable[..., TrainConfig]
MakeImages = Callable[..., ImageSet]


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    folder = RunDirectory("r", tmp_path)
    folder.create()
    return folder


def test_files_of_a_run(run: RunDirectory, tiny: Make, image_set: MakeImages, runtime: Runtime) -> None:
    snapshots = []
    job = Trainer(tiny(steps=9, keep=2), runtime, image_set())
    assert (
        run_training_loop(job, run, on_snapshot=lambda step, network: snapshots.append((step, network.training)))
        is None
    )
    names = sorted(os.listdir(run.checkpoints))
    assert names.pop(0).startswith("events.out.tfevents")
    assert names == ["log.jsonl", "step-00000008.pt", "step-00000009.pt"]
    assert sorted(os.listdir(run.samples)) == ["step-00000004.png", "step-00000008.png", "step-00000009.png"]
    assert snapshots == [(2, False), (4, False), (6, False), (8, False), (9, False)]
    entries = log.read_log(run.checkpoints / "log.jsonl")
    assert [entry["step"] for entry in entries] == [2, 4, 6, 8, 9]
    wanted = {"images", "seconds", "images_per_second", "loss_d", "loss_g", "d_real", "d_fake", "d_accuracy"}
    assert wanted | {"grad_norm_d", "grad_norm_g", "sigma", "health", "variety"} <= set(entries[0])
    assert entries[-1]["images"] == 72 and len(entries[0]["sigma"]) == 8


def test_tensorboard_has_losses_sigma_and_grids(
    run: RunDirectory, tiny: Make, image_set: MakeImages, runtime: Runtime
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run_training_loop(Trainer(tiny(), runtime, image_set()), run)
    events = EventAccumulator(str(run.checkpoints))
    events.Reload()
    assert {"loss_d", "loss_g", "d_real", "d_fake", "sigma/head.linear"} <= set(events.Tags()["scalars"])
    assert events.Tags()["images"] == ["samples"]


def test_steps_are_waited_for_before_other_work_on_the_device(
    run: RunDirectory, tiny: Make, image_set: MakeImages, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU steps are only asked for; a wait in a look at the networks or in a grid would hide what they take."""
    told: list[str] = []

    class Look(DynamicsCallback):
        def __init__(self) -> None:
            pass

        def due(self, step: int) -> bool:
            return step == 3

        def __call__(self, step: int) -> None:
            told.append(f"look {step}")

    job = Trainer(tiny(steps=4, log_every=4, sample_every=2, checkpoint_every=4), runtime, image_set())
    monkeypatch.setattr(environment, "synchronize", lambda device: (told.append(f"wait {job.step}"), time.sleep(0.2)))
    monkeypatch.setattr(
        loop, "fixed_samples", lambda job: told.append(f"grid {job.step}") or torch.zeros(64, 3, 32, 32)
    )
    monkeypatch.setattr("gan.training.loop.save_grid", lambda *_: None)
    run_training_loop(job, run, dynamics=Look())
    assert told == ["wait 2", "grid 2", "wait 3", "look 3", "wait 4", "wait 4", "grid 4"]
    assert job.seconds > 0.8


def test_best_checkpoint_is_kept(run: RunDirectory, tiny: Make, image_set: MakeImages, runtime: Runtime) -> None:
    (run.checkpoints / "best.json").write_text(json.dumps({"checkpoint": "step-00000002.pt"}))
    run_training_loop(Trainer(tiny(steps=8, keep=1), runtime, image_set()), run)
    assert [path.name for path in checkpoint.list_checkpoints(run.checkpoints)] == [
        "step-00000002.pt",
        "step-00000008.pt",
    ]


def test_divergence_keeps_the_last_good_checkpoint(
    run: RunDirectory, tiny: Make, image_set: MakeImages, runtime: Runtime
) -> None:
    job = Trainer(tiny(steps=10, checkpoint_every=2), runtime, image_set())
    step = job.train_step

    def poisoned() -> None:
        if job.step == 5:
            with torch.no_grad():
                next(job.generator.parameters()).fill_(float("nan"))
        step()

    job.train_step = poisoned  # type: ignore[method-assign]
    with pytest.raises(Diverged, match=r"step 6: .* diverged.*last good checkpoint is .*step-00000004\.pt") as error:
        run_training_loop(job, run)
    assert len(str(error.value).splitlines()) == 1
    state = checkpoint.load_checkpoint(checkpoint.list_checkpoints(run.checkpoints)[-1])
    assert state["step"] == 4 and all(value.isfinite().all() for value in state["generator"].values())
    assert log.read_log(run.checkpoints / "log.jsonl")[-1]["health"] == ["diverged"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_stops(
    run: RunDirectory, tiny: Make, image_set: MakeImages, runtime: Runtime, number: int
) -> None:
    job = Trainer(tiny(steps=50, checkpoint_every=40), runtime, image_set())
    step = job.train_step

    def interrupted() -> None:
        step()
        if job.step == 3:
            os.kill(os.getpid(), number)

    job.train_step = interrupted  # type: ignore[method-assign]
    before = signal.getsignal(number)
    assert run_training_loop(job, run) == number
    assert signal.getsignal(number) is before
    assert [path.name for path in checkpoint.list_checkpoints(run.checkpoints)] == ["step-00000003.pt"]


def test_a_second_signal_stops_at_once(run: RunDirectory, tiny: Make, image_set: MakeImages, runtime: Runtime) -> None:
    job = Trainer(tiny(steps=50, checkpoint_every=40), runtime, image_set())
    step = job.train_step

    def interrupted_twice() -> None:
        step()
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    job.train_step = interrupted_twice  # type: ignore[method-assign]
    with pytest.raises(SystemExit) as stopped:
        run_training_loop(job, run)
    assert stopped.value.code == 130
    assert not checkpoint.list_checkpoints(run.checkpoints)


def test_divergence_in_a_score_keeps_the_checkpoint_before(
    run: RunDirectory, tiny: Make, image_set: MakeImages, runtime: Runtime
) -> None:
    def score(step: int, network: object) -> None:
        if step == 4:
            raise Diverged("step 4: the generator's images are not finite")

    job = Trainer(tiny(steps=8, keep=1, checkpoint_every=2), runtime, image_set())
    with pytest.raises(Diverged, match=r"the last good checkpoint is .*step-00000002\.pt"):
        run_training_loop(job, run, on_snapshot=score)
    assert [path.name for path in checkpoint.list_checkpoints(run.checkpoints)] == ["step-00000002.pt"]
