"""Recomputed running statistics on the fake device: those of a generator, and precise ones of a classifier."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from gan.config.train_config import TrainConfig
from gan.models import build_generator
from gan.models.classifiers import build_classifier
from gan.norm import has_running_statistics, retake_running_statistics
from gan.runtime import Runtime
from gan.sampling.standing_stats import use_standing_statistics
from tests.helpers.fake_device import device_only


@pytest.mark.parametrize("classes", [0, 3])
def test_standing_statistics(classes: int, gpu: Runtime, tiny: Callable[..., TrainConfig]) -> None:
    generator = gpu.place(build_generator(tiny(), classes))
    assert use_standing_statistics(generator, 2, 0, latent_dim=8, classes=classes)
    assert all(value.device == gpu.device for value in generator.state_dict().values())


@pytest.mark.parametrize("norm", ["bn", "msn"])
def test_statistics_are_retaken_on_the_device(norm: str, gpu: Runtime) -> None:
    network = gpu.place(build_classifier("cnn3", norm, resolution=32, channels=3, classes=3))
    batches: list[tuple[Tensor, ...]] = [(torch.ones(2, 3, 32, 32, device=gpu.device),)] * 2
    assert has_running_statistics(network)
    with device_only():
        retake_running_statistics(network, batches)
    assert all(value.device == gpu.device for value in network.state_dict().values())
