"""Plan of a comparison, and equal initial states of its trainings."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable

import pytest

from gan.config.train_config import TrainConfig
from gan.data.image_set import ImageSet
from gan.experiments.compare.arms import training_differences
from gan.experiments.compare.initial_state import initial_state_hashes, raw_weights
from gan.experiments.compare.plan import CompareConfig, ComparePlan
from gan.norm import NORMS
from gan.runtime import Runtime
from gan.training.trainer import Trainer
from tests.helpers.states import same_bytes


@pytest.mark.parametrize("network", ["dcgan", "resnet"])
def test_all_norms_start_alike(
    network: str, tiny: Callable[..., TrainConfig], runtime: Runtime, image_set: Callable[..., ImageSet]
) -> None:
    """Networks and inputs of a plan are equal, except for the norm and its parameters."""
    norms = tuple(NORMS)
    settings = tiny(network=network, conditional=True, flip=True, n_dis=2)
    plan = ComparePlan(CompareConfig(norms=norms, seeds=2), settings)
    assert [(one.seed, one.arm) for one in plan.trainings()] == [(seed, norm) for seed in (0, 1) for norm in norms]
    data = image_set()
    trainers = [Trainer(plan.config_of(one), runtime, data) for one in plan.trainings()]
    for first, trainer in ((trainers[0], trainer) for trainer in trainers[1 : len(norms)]):
        assert training_differences(first.config, trainer.config) == [f"--norm: none -> {trainer.config.norm}"]
        same_bytes(dict(first.generator.state_dict()), dict(trainer.generator.state_dict()))
        same_bytes(list(raw_weights(first.discriminator)), list(raw_weights(trainer.discriminator)))
        for step in (0, 7):
            pair = [trained.inputs.step_inputs(step, own_latents=True) for trained in (first, trainer)]
            same_bytes(*([tensor for draw in draws for tensor in draw.tensors()] for draws in pair))
        assert initial_state_hashes(trainer) == initial_state_hashes(first)
    other = initial_state_hashes(trainers[len(norms)])  # of another seed
    assert all(other[part] != value for part, value in initial_state_hashes(trainers[0]).items())
    count = len(list(raw_weights(trainers[0].discriminator)))
    assert count == sum(name.endswith("weight") for name, _ in trainers[0].discriminator.named_parameters())


def test_a_different_initial_state_is_detected(
    tiny: Callable[..., TrainConfig], runtime: Runtime, image_set: Callable[..., ImageSet]
) -> None:
    trainer = Trainer(tiny(), runtime, image_set())
    before = initial_state_hashes(trainer)
    next(raw_weights(trainer.discriminator))[0, 0, 0, 0] += 1e-3
    after = initial_state_hashes(trainer)
    assert after["discriminator"] != before["discriminator"] and after["generator"] == before["generator"]


def test_settings_round_trip() -> None:
    plan = ComparePlan(
        CompareConfig(norms=("sn", "msn"), seeds=4, lr_grid=True), TrainConfig(g_lr=1e-3, norm="bn", seed=7)
    )
    assert ComparePlan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan
    assert (plan.train.norm, plan.train.seed) == ("none", 0)
    assert dataclasses.replace(plan, compare=CompareConfig(norms=("bn",), seeds=1)).merge(
        plan
    ).compare == CompareConfig(norms=("bn", "sn", "msn"), seeds=4)
    assert len(list(plan.trainings())) == 2 * 4 * 6 and math.prod((2, 4, 6)) == 48
