"""Configuration of an experiment: resolved defaults, the plan of trainings, and refused values."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from gan.errors import UsageError
from gan.experiments.classify.config import ClassifyConfig, ClassifyTraining
from gan.models.classifiers import CLASSIFIERS, build_classifier
from tests.helpers.norm_layers import LAYER_NORMS


def resolved(**given: Any) -> ClassifyConfig:
    return ClassifyConfig().replace(given).resolved("fp32")


@pytest.mark.parametrize(
    "data, channels, augment",
    [
        ("digits", 1, "none"),
        ("mnist", 1, "none"),
        ("cifar10", 3, "crop-flip"),
        ("svhn", 3, "crop"),
        ("a.zip", 3, "crop-flip"),
    ],
)
def test_defaults_follow_the_data(data: str, channels: int, augment: str) -> None:
    config = resolved(data=data)
    assert (config.channels, config.augment, config.precision) == (channels, augment, "fp32")
    assert resolved(data=data, channels=1, augment="crop").augment == "crop"


def test_decay_follows_the_optimizer() -> None:
    assert resolved().decay == "none" and resolved(optimizer="sgd").decay == "cosine"
    assert resolved(optimizer="adam", decay="cosine").decay == "cosine"
    assert resolved(optimizer="sgd", decay="none").decay == "none"


def test_resolving_is_done_once() -> None:
    config = resolved(data="cifar10", optimizer="sgd", norms=["msn", "bn", "msn"], lr=[0.1, 0.1])
    assert config.resolved("fp32") == config
    assert config.norms == ("msn", "bn") and config.lr == (0.1,)
    assert ClassifyConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_the_plan_has_all_norms_of_a_seed_first() -> None:
    plan = list(resolved(norms=["sn", "msn"], lr=[0.1, 0.00001], seeds=2).trainings())
    assert len(plan) == 8 and plan[:2] == [ClassifyTraining("sn", 0.1, 0), ClassifyTraining("msn", 0.1, 0)]
    assert all(training.seed == 0 for training in plan[:4])
    assert len({training.name for training in plan}) == 8 and plan[2].name == "sn-lr1e-05-seed0"


def test_merge_keeps_the_order_of_the_older() -> None:
    older, newer = resolved(norms=["sn", "bn"], seeds=3), resolved(norms=["msn", "bn"], lr=[0.1])
    both = newer.merge(older)
    assert both.norms == ("sn", "bn", "msn") and both.lr == (0.001, 0.1) and both.seeds == 3


@pytest.mark.parametrize(
    "given, message",
    [
        ({"model": "vgg"}, "--model vgg: choose from cnn3, vgg7, densenet-bc, resnet18, resnet20"),
        ({"norms": ["bn", "nrom"]}, "--norms nrom: choose from none, wn, sn, bssn"),
        ({"lr": [0.1, 0.0]}, "--lr 0.0: must be above 0"),
        ({"lr": [-1]}, "--lr -1.0: must be above 0"),
        ({"lr": [float("nan")]}, "--lr (nan,): is not of type tuple[float, ...]"),
        ({"lr": []}, "--lr: is empty; give at least one"),
        ({"norms": []}, "--norms: is empty; give at least one"),
        ({"epochs": 0}, "--epochs 0: must be at least 1"),
        ({"seeds": 0}, "--seeds 0: must be at least 1"),
        ({"optimizer": "rmsprop"}, "--optimizer rmsprop: choose from adam, sgd"),
    ],
)
def test_bad_settings(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        ClassifyConfig().replace(given)
    assert str(caught.value).startswith(message)


def test_a_model_too_deep_for_the_resolution() -> None:
    with pytest.raises(UsageError, match="--model vgg7: too deep for images of 28 pixels; use --resolution 32 or more"):
        resolved(resolution=28)
    assert resolved(model="cnn3", resolution=28).resolution == 28


@pytest.mark.parametrize(
    "given, message",
    [
        (
            {"norms": ["none", "in", "bn"]},
            "--norms in: the last maps of resnet18 have one position at --resolution 8, and one value has no "
            "standard deviation; use --resolution 9 or more, or other norms",
        ),
        (
            {"norms": ["bn", "msn"], "batch": 1},
            "--norms bn: the last maps of resnet18 have one position at --resolution 8 and --batch 1, and one value "
            "has no standard deviation; use --resolution 9 or more or --batch 2 or more, or other norms",
        ),
    ],
)
def test_norms_of_a_single_value(given: dict[str, Any], message: str) -> None:
    """Refused before the first training starts."""
    with pytest.raises(UsageError) as caught:
        resolved(model="resnet18", resolution=8, **given)
    assert str(caught.value).startswith(message)
    assert resolved(model="resnet18", **{**given, "resolution": 9}).resolution == 9


@pytest.mark.parametrize("model", CLASSIFIERS)
@pytest.mark.parametrize("norm", LAYER_NORMS)
@pytest.mark.parametrize("batch", [1, 2])
def test_accepted_sizes_train(model: str, norm: str, batch: int) -> None:
    """At the smallest feature maps of each classifier."""
    smallest = max(8, CLASSIFIERS[model].smallest)
    config = {"model": model, "norms": [norm], "batch": batch}
    try:
        resolved(**config, resolution=smallest)
    except UsageError as error:
        assert "one position" in str(error)
        assert (model, norm) == ("resnet18", "in") or (model, norm, batch) == ("resnet18", "bn", 1)
        smallest = resolved(**config, resolution=smallest + 1).resolution
    network = build_classifier(model, norm, resolution=smallest, channels=1, classes=3)
    network(torch.zeros(batch, 1, smallest, smallest)).sum().backward()
