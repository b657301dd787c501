"""Classifier trainer: steps against plain PyTorch, epochs, schedule and divergence."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gan.data.batches import Batches
from gan.data.image_set import ImageSet
from gan.experiments.classify.config import ClassifyConfig, ClassifyTraining
from gan.experiments.classify.trainer import ClassifierTrainer, count_steps, evaluate_classifier
from gan.models.classifiers import build_classifier
from gan.norm import power_iterate, retake_running_statistics
from gan.runtime import Runtime

Make = Callable[..., ClassifierTrainer]


@pytest.fixture
def make(image_set: Callable[..., ImageSet], runtime: Runtime) -> Make:
    """Build a trainer of cnn3 on 24 images of 8 pixels."""
    images = image_set(resolution=8)

    def build(norm: str = "msn", lr: float = 0.01, **given: Any) -> ClassifierTrainer:
        settings = {"model": "cnn3", "resolution": 8, "batch": 7, "epochs": 3, "augment": "none", **given}
        config = ClassifyConfig().replace(settings).resolved("fp32")
        return ClassifierTrainer(config, ClassifyTraining(norm, lr, 0), runtime, images, images)

    return build


def reference(trainer: ClassifierTrainer, optimizer: Callable[..., torch.optim.Optimizer], steps: int) -> nn.Module:
    """Run the same steps in plain PyTorch."""
    training = trainer.training
    network = build_classifier("cnn3", training.norm, resolution=8, channels=3, classes=3, seed=0)
    network.to(memory_format=torch.channels_last)
    update = optimizer(network.parameters(), lr=training.lr)
    batches = Batches(trainer.test, trainer.config.batch, 0)
    for step in range(steps):
        for group in update.param_groups:
            if trainer.config.decay == "cosine":
                group["lr"] = training.lr * 0.5 * (1 + math.cos(math.pi * step / trainer.steps))
        power_iterate(network)
        batch = batches.at(step)
        update.zero_grad()
        F.cross_entropy(network(batch.images.to(memory_format=torch.channels_last)), batch.labels).backward()
        update.step()
    return network


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("norm", ["bn", "msn"])
def test_steps_against_plain_pytorch(make: Make, norm: str, optimizer: str) -> None:
    trainer = make(norm, optimizer=optimizer, weight_decay=1e-3)
    for _ in range(5):
        trainer.train_step()

    def plain(parameters: Any, lr: float) -> torch.optim.Optimizer:
        if optimizer == "adam":
            return torch.optim.Adam(parameters, lr, weight_decay=1e-3)
        return torch.optim.SGD(parameters, lr, momentum=0.9, weight_decay=1e-3)

    expected = reference(trainer, plain, 5).state_dict()
    for name, value in trainer.network.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-6, msg=name)


def test_epochs_end_when_all_images_were_seen(make: Make) -> None:
    trainer = make()  # 24 images in batches of 7: the epochs end within steps 4, 7 and 11
    ends = []
    while trainer.step < trainer.steps:
        trainer.train_step()
        if trainer.at_end_of_epoch:
            entry = trainer.end_epoch()
            ends.append((entry["step"], entry["epoch"], entry["images"]))
    assert ends == [(4, 1, 28), (7, 2, 49), (11, 3, 77)] and trainer.steps == count_steps(trainer.config, 24) == 11


def test_a_line_of_the_log(make: Make) -> None:
    trainer = make("none", lr=1e-9)
    for _ in range(4):
        trainer.train_step()
    entry = trainer.end_epoch()
    network = build_classifier("cnn3", "none", resolution=8, channels=3, classes=3, seed=0)
    labels = torch.cat([Batches(trainer.test, 7, 0).at(step).labels for step in range(4)])  # type: ignore[misc]
    images = torch.cat([Batches(trainer.test, 7, 0).at(step).images for step in range(4)])
    with torch.no_grad():
        logits = network(images)
    assert entry["train_loss"] == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-5)
    assert entry["train_accuracy"] == pytest.approx((logits.argmax(1) == labels).float().mean().item())
    assert entry["test_loss"] == pytest.approx(evaluate_classifier(network, trainer.test, trainer.runtime)[0], rel=1e-5)
    assert entry["step_seconds"] > 0 and entry["images_per_second"] > 0 and entry["lr"] == 1e-9
    assert trainer.network.training


def test_evaluation(make: Make, runtime: Runtime) -> None:
    trainer = make("bn")
    trainer.train_step()
    before = {name: value.clone() for name, value in trainer.network.state_dict().items()}
    loss, accuracy = evaluate_classifier(trainer.network, trainer.test, runtime)
    trainer.network.eval()
    batch = Batches(trainer.test, 24, 0).at(0)
    assert batch.labels is not None
    logits = trainer.network(batch.images)
    assert loss == pytest.approx(F.cross_entropy(logits, batch.labels).item(), rel=1e-5)
    assert accuracy == pytest.approx((logits.argmax(1) == batch.labels).double().mean().item())
    assert all(torch.equal(value, before[name]) for name, value in trainer.network.state_dict().items())


def test_cosine_decay_ends_near_nothing(make: Make) -> None:
    trainer = make(optimizer="sgd", lr=0.1)
    rates = []
    while trainer.step < trainer.steps:
        trainer.train_step()
        rates.append(trainer.optimizer.param_groups[0]["lr"])
    assert rates[0] == 0.1 and rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(0.1 * (1 + math.cos(math.pi * 10 / 11)) / 2)


def test_a_loss_that_is_not_finite_is_detected(make: Make) -> None:
    trainer = make("none", lr=1e30)
    while trainer.diverged is None and trainer.step < 10:
        trainer.train_step()
    assert trainer.diverged == 2  # the first update gives the weights, the second step meets them


def test_weights_that_are_not_finite_after_the_last_step_are_detected(make: Make) -> None:
    trainer = make("none")
    for _ in range(4):
        trainer.train_step()
    with torch.no_grad():
        next(trainer.network.parameters())[0, 0, 0, 0] = float("nan")
    trainer.end_epoch()
    assert trainer.diverged == 4


def test_losses_read_late_name_the_same_step(make: Make) -> None:
    trainer = make("none", lr=1e30, epochs=9)
    trainer._read_every = 100
    for _ in range(3):
        trainer.train_step()
    assert trainer.diverged is None
    trainer.read_losses()
    assert trainer.diverged == 2


def test_precise_statistics_are_used_in_tests_alone(make: Make) -> None:
    """The training goes on as without them, bit for bit; the tested network has those of the last batches."""
    precise, plain = make("msn", precise_stats=3), make("msn", precise_stats=0)
    entries = []
    for trainer in (precise, plain):
        for _ in range(4):
            trainer.train_step()
        entries.append(trainer.end_epoch())
        trainer.train_step()
    assert entries[0]["test_loss"] != entries[1]["test_loss"]
    assert plain.network_to_test() is plain.network
    for name, value in precise.network.state_dict().items():
        assert torch.equal(value, plain.network.state_dict()[name]), name
    expected = copy.deepcopy(precise.network)
    batches = Batches(precise.test, 7, 0)
    retake_running_statistics(expected, ((batches.at(step).images,) for step in (2, 3, 4)))
    for name, value in precise.network_to_test().state_dict().items():
        torch.testing.assert_close(value, expected.state_dict()[name], msg=name)
    assert make("sn", precise_stats=3).network_to_test() is not None


def test_precise_statistics_are_taken_once_for_a_step(make: Make) -> None:
    trainer = make("msn", precise_stats=3)
    trainer.train_step()
    tested = trainer.network_to_test()
    assert trainer.network_to_test() is tested
    trainer.train_step()
    assert trainer.network_to_test() is not tested


@pytest.mark.parametrize("model, expected", [("vgg7", 0), ("densenet-bc", 50), ("resnet18", 50), ("resnet20", 50)])
def test_precise_statistics_are_the_default_of_deep_networks(model: str, expected: int) -> None:
    assert ClassifyConfig(model=model).resolved("fp32").precise_stats == expected
    assert ClassifyConfig(model=model, precise_stats=7).resolved("fp32").precise_stats == 7
    older = {key: value for key, value in ClassifyConfig(model=model).to_dict().items() if key != "precise_stats"}
    assert ClassifyConfig.from_file(older).resolved("fp32").precise_stats == 0
