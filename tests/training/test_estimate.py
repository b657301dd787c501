"""Estimates of time, memory and disk: they agree with what a run takes, also where they are extrapolated."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gan.config.train_config import TrainConfig
from gan.runs import checkpoint
from gan.runtime import Runtime
from gan.training import estimate
from gan.training.dry_run import format_duration
from gan.training.estimate import Estimate, estimate_run, noise_images
from gan.training.trainer import Trainer


def test_a_checkpoint_has_the_estimated_size(
    tiny: Callable[..., TrainConfig], runtime: Runtime, tmp_path: Path
) -> None:
    config = tiny(n_dis=2)
    found = estimate_run(config, runtime, noise_images(config, 0))
    trainer = Trainer(config, runtime, noise_images(config, 0))
    trainer.train_step()
    checkpoint.save_checkpoint(tmp_path / "step-00000001.pt", trainer.state())
    size = (tmp_path / "step-00000001.pt").stat().st_size
    assert abs(found.checkpoint - size) < 0.02 * size
    assert not found.extrapolated and found.step_seconds > 0 and found.memory > 10**7


def test_a_long_step_is_extrapolated(
    tiny: Callable[..., TrainConfig], runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps that take 2 s and 1 s more for each image, of which an update of D has three quarters."""
    batches = []

    def seconds(trainer: Trainer, steps: int) -> float:
        trainer.train_step()
        batches.append(trainer.config.batch)
        return (2 + trainer.config.batch) * (0.25 + 0.75 * trainer.config.n_dis)

    monkeypatch.setattr(estimate, "_seconds_per_step", seconds)
    monkeypatch.setattr(estimate, "reset_peak_memory", lambda device: True)
    monkeypatch.setattr(estimate, "peak_memory_bytes", lambda device: 1000 + 10 * batches[-1])
    config = tiny(batch=64, n_dis=5, accumulate=2)
    found = estimate_run(config, runtime, noise_images(config, 3))
    assert max(batches) == 4 and found.extrapolated
    assert found.step_seconds == pytest.approx(66 * 4)
    assert found.memory == 1000 + 10 * 32


def test_updates_with_a_penalty_count_by_their_share(
    tiny: Callable[..., TrainConfig], runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock on which an update of D takes 1 s, one with a penalty 9 s; the first step of a trainer has one."""

    def seconds(trainer: Trainer, steps: int) -> float:
        first = trainer.step * trainer.config.n_dis
        updates = range(first, first + steps * trainer.config.n_dis)
        trainer.step += steps
        return sum(9 if update % trainer.config.penalty_every == 0 else 1 for update in updates) / steps

    monkeypatch.setattr(estimate, "_seconds_per_step", seconds)
    monkeypatch.setattr(estimate, "reset_peak_memory", lambda device: True)
    for n_dis, every in ((1, 4), (2, 4), (3, 4), (2, 1)):
        config = tiny(batch=4, n_dis=n_dis, r1=1.0, penalty_every=every)
        monkeypatch.setattr(estimate, "_LONG", 1000.0)
        found = estimate_run(config, runtime, noise_images(config, 0))
        assert found.step_seconds == n_dis * (1 + 8 / every) and not found.extrapolated
        monkeypatch.setattr(estimate, "_LONG", 0.0)
        found = estimate_run(config, runtime, noise_images(config, 0))
        assert found.step_seconds == pytest.approx(n_dis * (1 + 8 / every)) and found.extrapolated


@pytest.mark.parametrize(("steps", "kept"), [(1000, 1), (2000, 2), (50_000, 3)])
def test_checkpoints_that_are_kept(steps: int, kept: int) -> None:
    found = Estimate(1.0, 0, 100, extrapolated=False)
    assert found.disk(TrainConfig(steps=steps)) == (kept, 100 * kept)
    assert found.disk(TrainConfig(steps=50_000, report_every=10)) == (4, 400)


@pytest.mark.parametrize(("steps", "every", "keep", "kept"), [(2000, 500, 1, 2), (10_000, 1000, 3, 4), (9, 10, 3, 1)])
def test_checkpoints_that_are_written_for_scores_count(steps: int, every: int, keep: int, kept: int) -> None:
    config = TrainConfig(steps=steps, checkpoint_every=steps, report_every=every, keep=keep)
    assert Estimate(1.0, 0, 100, extrapolated=False).disk(config) == (kept, 100 * kept)


def test_noise_is_enough_for_small_batches_of_many_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate.process_group, "world_size", lambda: 32)
    assert len(noise_images(TrainConfig(batch=64), 0)) == 128


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(3.21, "3.2 s"), (61, "1 min 1 s"), (7260, "2 h 1 min"), (90_000, "1 day 1 h"), (13_748_400, "159 days 3 h")],
)
def test_durations(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
