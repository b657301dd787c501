"""One training: its steps against plain PyTorch, epochs, schedule, divergence, and what watches it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gan.data import Batches, ImageSet
from gan.experiments.classify.config import ClassifyConfig, ClassifyTraining
from gan.experiments.classify.trainer import ClassifierTrainer, count_steps, evaluate_classifier
from gan.models.classifiers import build_classifier
from gan.norm import power_iterate
from gan.runtime import Runtime

Make = Callable[..., ClassifierTrainer]


@pytest.fixture
def make(image_set: Callable[..., ImageSet], runtime: Runtime) -> Make:
    """A training of cnn3 on 24 images of 8 pixels."""
    images = image_set(resolution=8)

    def build(norm: str = "msn", lr: float = 0.01, **given: Any) -> ClassifierTrainer:
        settings = {"model": "cnn3", "resolution": 8, "batch": 7, "epochs": 3, "augment": "none", **given}
        config = ClassifyConfig().replace(settings).resolved("fp32")
        return ClassifierTrainer(config, ClassifyTraining(norm, lr, 0), runtime, images, images)

    return build


def reference(job: ClassifierTrainer, optimizer: Callable[..., torch.optim.Optimizer], steps: int) -> nn.Module:
    """The same steps written out."""
    training = job.training
    network = build_classifier("cnn3", training.norm, resolution=8, channels=3, classes=3, seed=0)
    network.to(memory_format=torch.channels_last)
    update = optimizer(network.parameters(), lr=training.lr)
    batches = Batches(job.test, job.config.batch, 0)
    for step in range(steps):
        for group in update.param_groups:
            if job.config.decay == "cosine":
                group["lr"] = training.lr * 0.5 * (1 + math.cos(math.pi * step / job.steps))
        power_iterate(network)
        batch = batches.at(step)
        update.zero_grad()
        F.cross_entropy(network(batch.images.to(memory_format=torch.channels_last)), batch.labels).backward()
        update.step()
    return network


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("norm", ["bn", "msn"])
def test_steps_against_plain_pytorch(make: Make, norm: str, optimizer: str) -> None:
    job = make(norm, optimizer=optimizer, weight_decay=1e-3)
    for _ in range(5):
        job.train_step()

    def plain(parameters: Any, lr: float) -> torch.optim.Optimizer:
        if optimizer == "adam":
            return torch.optim.Adam(parameters, lr, weight_decay=1e-3)
        return torch.optim.SGD(parameters, lr, momentum=0.9, weight_decay=1e-3)

    expected = reference(job, plain, 5).state_dict()
    for name, value in job.network.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-6, msg=name)


def test_epochs_end_when_all_images_were_seen(make: Make) -> None:
    job = make()  # 24 images in batches of 7: the epochs end within steps 4, 7 and 11
    ends = []
    while job.step < job.steps:
        job.train_step()
        if job.at_end_of_epoch:
            entry = job.end_epoch()
            ends.append((entry["step"], entry["epoch"], entry["images"]))
    assert ends == [(4, 1, 28), (7, 2, 49), (11, 3, 77)] and job.steps == count_steps(job.config, 24) == 11


def test_a_line_of_the_log(make: Make) -> None:
    job = make("none", lr=1e-9)
    for _ in range(4):
        job.train_step()
    entry = job.end_epoch()
    network = build_classifier("cnn3", "none", resolution=8, channels=3, classes=3, seed=0)
    labels = torch.cat([Batches(job.test, 7, 0).at(step).labels for step in range(4)])  # type: ignore[misc]
    images = torch.cat([Batches(job.test, 7, 0).at(step).images for step in range(4)])
    with torch.no_grad():
        logits = network(images)
    assert entry["train_loss"] == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-5)
    assert entry["train_accuracy"] == pytest.approx((logits.argmax(1) == labels).float().mean().item())
    assert entry["test_loss"] == pytest.approx(evaluate_classifier(network, job.test, job.runtime)[0], rel=1e-5)
    assert entry["step_seconds"] > 0 and entry["images_per_second"] > 0 and entry["lr"] == 1e-9
    assert job.network.training


def test_evaluation(make: Make, runtime: Runtime) -> None:
    job = make("bn")
    job.train_step()
    before = {name: value.clone() for name, value in job.network.state_dict().items()}
    loss, accuracy = evaluate_classifier(job.network, job.test, runtime)
    job.network.eval()
    batch = Batches(job.test, 24, 0).at(0)
    assert batch.labels is not None
    logits = job.network(batch.images)
    assert loss == pytest.approx(F.cross_entropy(logits, batch.labels).item(), rel=1e-5)
    assert accuracy == pytest.approx((logits.argmax(1) == batch.labels).double().mean().item())
    assert all(torch.equal(value, before[name]) for name, value in job.network.state_dict().items())


def test_cosine_decay_ends_near_nothing(make: Make) -> None:
    job = make(optimizer="sgd", lr=0.1)
    rates = []
    while job.step < job.steps:
        job.train_step()
        rates.append(job.optimizer.param_groups[0]["lr"])
    assert rates[0] == 0.1 and rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(0.1 * (1 + math.cos(math.pi * 10 / 11)) / 2)


def test_a_loss_that_is_not_finite_is_noted(make: Make) -> None:
    job = make("none", lr=1e30)
    while job.diverged is None and job.step < 10:
        job.train_step()
    assert job.diverged == 2  # the first update gives the weights, the second step meets them


def test_weights_that_are_not_finite_after_the_last_step_are_noted(make: Make) -> None:
    job = make("none")
    for _ in range(4):
        job.train_step()
    with torch.no_grad():
        next(job.network.parameters())[0, 0, 0, 0] = float("nan")
    job.end_epoch()
    assert job.diverged == 4


def test_losses_read_late_name_the_same_step(make: Make) -> None:
    job = make("none", lr=1e30, epochs=9)
    job._read_every = 100
    for _ in range(3):
        job.train_step()
    assert job.diverged is None
    job.read_losses()
    assert job.diverged == 2
