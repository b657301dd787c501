"""Steps and tests of classifiers on the fake device."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from gan.experiments.classify.config import ClassifyConfig, ClassifyTraining
from gan.experiments.classify.trainer import ClassifierTrainer
from gan.runtime import Runtime
from tests.helpers.fake_device import device_only, fake_images

SETTINGS = {
    "cnn3": {"optimizer": "sgd", "augment": "crop-flip"},
    "vgg7": {"optimizer": "adam", "augment": "crop"},
    "densenet-bc": {"optimizer": "sgd", "augment": "none", "decay": "cosine"},
    "resnet18": {"optimizer": "adam", "augment": "crop-flip"},
}


@pytest.mark.parametrize(
    ("model", "resident"),
    [("cnn3", True), ("cnn3", False), ("vgg7", False)]
    + [pytest.param(model, True, marks=pytest.mark.slow) for model in ("resnet18", "densenet-bc")],
)
def test_an_epoch(model: str, resident: bool, gpu: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    if not resident:
        monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: (0, 0))
    config = ClassifyConfig(model=model, batch=8, epochs=1, **SETTINGS[model])
    training = ClassifyTraining("msn", 0.1, 0)
    trainer = ClassifierTrainer(config, training, replace(gpu, bf16=resident), fake_images(16), fake_images(16))
    assert (trainer.batches._resident is not None) == resident
    while trainer.step < trainer.steps:
        trainer.train_step()
    entry = trainer.end_epoch()
    assert entry["train_loss"] == 1  # the number that every read returns
    assert all(value.device == gpu.device for value in trainer.network.state_dict().values())
    with device_only(), torch.no_grad():
        assert trainer.network(torch.randn(8, 3, 32, 32, device=gpu.device)).device == gpu.device
