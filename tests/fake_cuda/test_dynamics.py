"""Samples of training dynamics on the fake device.

`activation_drift` selects the channels that vary, on the CPU by design and by their values, so it has none here.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from gan.config.train_config import TrainConfig
from gan.dynamics import measure
from gan.dynamics.matrix_stats import operator_norm, singular_values, sparsity
from gan.dynamics.measure import DynamicsMeter
from gan.dynamics.probe_batches import ClassifierProbe, DiscriminatorProbe
from gan.models import build_discriminator, build_generator
from gan.models.classifiers import build_classifier
from gan.runtime import Runtime
from tests.helpers.fake_device import fake_images

RECIPES = {
    "msn": {"norm": "msn"},
    "joint": {"norm": "msn", "d_batch": "joint", "conditional": True},
    "gradnorm": {"norm": "gradnorm"},
}


@pytest.fixture(autouse=True)
def _no_drift(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "activation_drift", lambda now, before: {"mean": now.mean.sum().item()})


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_sample_of_a_discriminator(recipe: str, gpu: Runtime, tiny: Callable[..., TrainConfig]) -> None:
    config = tiny(**RECIPES[recipe])
    classes = 3 if config.conditional else 0
    generator, discriminator = (gpu.place(build(config, classes)) for build in (build_generator, build_discriminator))
    probe = DiscriminatorProbe(config, fake_images(), classes, generator, gpu.device)
    sample = DynamicsMeter(discriminator, probe, {}).sample(full=False)
    assert sample["loss"] == 1  # the number that every read returns
    assert sample["layers"]


def test_a_sample_of_a_classifier(gpu: Runtime) -> None:
    network = gpu.place(build_classifier("cnn3", "sn", resolution=32, channels=3, classes=3, seed=0))
    sample = DynamicsMeter(network, ClassifierProbe(fake_images(), 8, gpu.device), {}).sample(full=False)
    assert sample["layers"]


def test_statistics_of_a_matrix(gpu: Runtime) -> None:
    matrix = torch.randn(4, 6, device=gpu.device)
    assert singular_values(matrix).device == torch.device("cpu")
    assert sparsity(matrix) == (1, 1)
    assert operator_norm(nn.Conv2d(3, 4, 3, device=gpu.device), (3, 8, 8)) == 1
