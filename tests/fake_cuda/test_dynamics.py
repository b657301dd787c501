"""Samples of training dynamics on the fake device: probes, gradients, singular values, operator norms, moments.

Their numbers are read from the device, where each is 1, and the moments of activations are compared on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from gan.config.train_config import TrainConfig
from gan.dynamics import measure, probe_batches
from gan.dynamics.matrix_stats import operator_norm, singular_values
from gan.dynamics.measure import DynamicsMeter, GradientStatistics
from gan.dynamics.probe_batches import ClassifierProbe, DiscriminatorProbe
from gan.models import build_discriminator, build_generator
from gan.models.classifiers import build_classifier
from gan.runtime import Runtime
from tests.helpers.fake_device import device_only, fake_images

RUNS: dict[str, dict[str, Any]] = {
    "separate": {"norm": "sn"},
    "joint": {"norm": "bn", "d_batch": "joint"},
    "conditional": {"norm": "none", "conditional": True},
    "critic": {"norm": "gradnorm"},
}


@pytest.fixture(autouse=True)
def _random_state(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The random state of the device, which samples must restore."""
    state = torch.zeros(16, dtype=torch.uint8)
    restored: list[bool] = []
    monkeypatch.setattr("torch.cuda.get_rng_state", lambda device: state)
    monkeypatch.setattr("torch.cuda.set_rng_state", lambda found, device: restored.append(found is state))
    yield
    assert all(restored)


@pytest.mark.parametrize("run", RUNS)
def test_a_discriminator(
    run: str, gpu: Runtime, tiny: Callable[..., TrainConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (measure, probe_batches):
        monkeypatch.setattr(module, "PARTS", 2)
    monkeypatch.setattr(measure, "operator_norm", partial(operator_norm, iterations=2))  # not 50
    config = tiny(**RUNS[run], batch=2)
    classes = 3 if config.conditional else 0
    generator = gpu.place(build_generator(config, classes))
    network = gpu.place(build_discriminator(config, classes))
    probe = DiscriminatorProbe(config, fake_images(8), classes, generator, gpu.device)
    sample = DynamicsMeter(network, probe, {}).sample(full=run == "separate")
    assert sample["loss"] == 1
    assert all(layer["weight_mean"] == 1 for layer in sample["layers"].values())


def test_a_classifier(gpu: Runtime) -> None:
    network = gpu.place(build_classifier("cnn3", "msn", resolution=32, channels=3, classes=3))
    meter = DynamicsMeter(network, ClassifierProbe(fake_images(8), 2, gpu.device), {})
    assert meter.sample(full=False)["loss"] == 1


def test_gradients_stay_on_the_device(gpu: Runtime) -> None:
    layer = nn.Linear(4, 3, device=gpu.device)
    x = torch.ones(2, 4, device=gpu.device)
    with device_only():
        gradients = GradientStatistics([layer.weight])
        for _ in range(2):
            gradients.add(layer(x).square().mean())
    assert gradients.numbers(0, layer)["gradient_norm"] == 1


def test_statistics_of_a_matrix_end_on_the_cpu(gpu: Runtime) -> None:
    for shape in ((3, 5), (5, 3)):
        values = singular_values(torch.ones(shape, device=gpu.device))
        assert values.shape == (3,) and values.device.type == "cpu"
    layer = nn.Conv2d(3, 4, 3, padding=1, device=gpu.device)
    assert operator_norm(layer, (3, 8, 8), iterations=2) == 1
