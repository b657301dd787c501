"""Schedules over the images seen: their values, their way into the step, and resuming within them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from gan.config.train_config import TrainConfig
from gan.data.image_set import ImageSet
from gan.runtime import Runtime
from gan.training.schedules import Schedules, cosine
from gan.training.trainer import Trainer
from tests.helpers.states import same_bytes

Make = Callable[..., TrainConfig]
MakeImages = Callable[..., ImageSet]

ALL: dict[str, Any] = {
    **{"loss": "relativistic", "norm": "none", "augment": ("color", "translation", "cutout")},
    **{"g_lr": 1e-3, "g_lr_end": 1e-4, "d_lr": 4e-4, "d_lr_end": 8e-4, "beta1": 0.0, "beta2": 0.9, "beta2_end": 0.99},
    **{"r1": 0.5, "r1_end": 0.05, "r2": 0.0, "r2_end": 1.0, "ema_half_life": 0.0, "ema_half_life_end": 500.0},
    **{"augment_p": 0.0, "augment_p_end": 0.6, "schedule_images": 64, "steps": 12},
}


@pytest.mark.parametrize("start, end", [(2e-4, 5e-5), (0.0, 5e6), (0.9, 0.99)])
def test_cosine(start: float, end: float) -> None:
    """The values of the formula as published, with the fraction that is left first."""
    total = 20_000_000
    assert cosine(start, end, 0, total) == start
    assert cosine(start, end, total // 2, total) == pytest.approx((start + end) / 2, rel=1e-12)
    assert cosine(start, end, total // 4, total) == pytest.approx(start + (1 - 0.5**0.5) / 2 * (end - start), rel=1e-12)
    assert cosine(start, end, total, total) == cosine(start, end, 3 * total, total) == end
    for images in range(0, total, 1_234_567):
        left = 0.5 * (1 + np.cos(np.pi * images / float(total)))
        assert cosine(start, end, images, total) == pytest.approx(start + (1 - left) * (end - start), rel=1e-12)


def test_a_constant_run_has_no_schedule(tiny: Make, image_set: MakeImages, runtime: Runtime) -> None:
    job = Trainer(tiny(), runtime, image_set())
    job.train_step()
    assert job.schedules.at(0) == {} and "scheduled" not in job.log_entry()


@pytest.mark.parametrize("n_dis", [1, 2])
def test_each_step_uses_the_values_of_the_images_before_it(
    tiny: Make, image_set: MakeImages, runtime: Runtime, monkeypatch: pytest.MonkeyPatch, n_dis: int
) -> None:
    job = Trainer(tiny(**ALL, n_dis=n_dis), runtime, image_set())
    half_lives: list[float] = []
    update = job.ema.update
    monkeypatch.setattr(job.ema, "update", lambda *given: half_lives.append(given[3]) or update(*given))
    for step in range(12 // n_dis):
        job.train_step()
        fraction = min(step * n_dis * 8 / 64, 1)
        rise = (1 - np.cos(np.pi * fraction)) / 2
        expected = {
            **{"g_lr": 1e-3 - 9e-4 * rise, "d_lr": 4e-4 + 4e-4 * rise, "beta2": 0.9 + 0.09 * rise},
            **{"r1": 0.5 - 0.45 * rise, "r2": rise, "ema_half_life": 500 * rise, "augment_p": 0.6 * rise},
        }
        assert job.log_entry()["scheduled"] == pytest.approx(expected, rel=1e-9)
        for optimizer, rate in ((job.g_optimizer, "g_lr"), (job.d_optimizer, "d_lr")):
            (group,) = optimizer.param_groups
            assert (group["lr"], group["betas"][1]) == pytest.approx((expected[rate], expected["beta2"]), rel=1e-9)
        used = {name: float(job.gan_step._values[name]) for name in ("r1", "r2", "augment_p")}
        assert used == pytest.approx({name: expected[name] for name in used}, rel=1e-6)
        assert half_lives[-1] == pytest.approx(expected["ema_half_life"], rel=1e-9)


def test_a_schedule_that_ends_where_it_starts_is_the_constant_run(
    tiny: Make, image_set: MakeImages, runtime: Runtime
) -> None:
    constant: dict[str, Any] = {"r1": 0.5, "r2": 0.25, "g_lr": 1e-3, "beta2": 0.9, "norm": "none"}
    ends = {f"{name}_end": value for name, value in constant.items() if name != "norm"}
    jobs = [
        Trainer(tiny(**constant, loss="relativistic", **more), runtime, image_set())
        for more in ({}, {**ends, "schedule_images": 16})
    ]
    for _ in range(4):
        for job in jobs:
            job.train_step()
    for network in ("generator", "discriminator"):
        plain, scheduled = (getattr(job, network).state_dict() for job in jobs)
        torch.testing.assert_close(scheduled, plain, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("more", [{}, {"n_dis": 2, "penalty_every": 2, "accumulate": 2}])
def test_stopped_at_every_third_step_is_never_stopped(
    tiny: Make, image_set: MakeImages, runtime: Runtime, more: dict[str, Any]
) -> None:
    config, data = tiny(**ALL, **more), image_set()
    whole = Trainer(config, runtime, data)
    for _ in range(9):
        whole.train_step()
    state: dict[str, Any] | None = None
    for _ in range(3):
        part = Trainer(config.replace({"steps": 50}), runtime, data)  # a longer run has the same schedule
        if state:
            part.load_state(state)
        for _ in range(3):
            part.train_step()
        state = part.state()
    assert state
    expected = whole.state()
    for name in ("generator", "discriminator", "average", "g_optimizer", "d_optimizer", "noted"):
        same_bytes(state[name], expected[name], name)


def test_schedules_allow_more_steps(tiny: Make) -> None:
    config = tiny(**ALL)
    assert config.differences(config.replace({"steps": 100})) == []
    assert config.differences(config.replace({"schedule_images": 65})) == ["--schedule-images: 64 -> 65"]
    assert Schedules(config).at(64) == Schedules(config.replace({"steps": 100})).at(64)


def test_an_augmentation_is_applied_with_its_probability(tiny: Make, image_set: MakeImages, runtime: Runtime) -> None:
    """The strengths are those of p = 1, and the decisions are further numbers of the same stream."""
    names = ("color", "cutout")
    plain = Trainer(tiny(augment=names), runtime, image_set())
    gated = Trainer(tiny(augment=names, augment_p=0.5), runtime, image_set())
    always, sometimes = (job.inputs.step_inputs(0, own_latents=False)[0].augmentation for job in (plain, gated))
    assert always is not None and sometimes is not None and sometimes.shape == (8, 3, 5 + 2)
    torch.testing.assert_close(sometimes[:, :, :5], always, rtol=0, atol=0)
    images = torch.rand(8, 3, 32, 32)
    whole, _ = plain.gan_step._augment((images, None), always, 1)
    ours, _ = gated.gan_step._augment((images, None), sometimes, 1)
    both = (sometimes[:, 1, 5:] < 0.5).all(1)
    neither = (sometimes[:, 1, 5:] >= 0.5).all(1)
    assert both.any() and neither.any()
    torch.testing.assert_close(ours[both], whole[both], rtol=0, atol=0)
    torch.testing.assert_close(ours[neither], images[neither], rtol=0, atol=0)
