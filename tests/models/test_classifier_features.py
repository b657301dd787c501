"""The paper's classifiers, their checkpoints, and the feature extractor made of one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from gan.errors import UsageError, UserError
from gan.metrics.classifier_extractor import ClassifierQuality
from gan.metrics.extractor import ExtractorOptions
from gan.metrics.extractors import create_extractor
from gan.models.classifiers import CLASSIFIERS, build_classifier, classifier_from_state, classifier_state
from gan.norm import spectral_norms
from gan.runs import checkpoint
from tests.helpers.norm_layers import LAYER_NORMS


@pytest.mark.parametrize("norm", LAYER_NORMS)
@pytest.mark.parametrize("name, resolution, dimension", [("cnn3", 28, 32 * 16**2), ("vgg7", 32, 256)])
def test_shapes(name: str, resolution: int, dimension: int, norm: str) -> None:
    network = build_classifier(name, norm, resolution=resolution, channels=1, classes=7)
    images = torch.randn(2, 1, resolution, resolution)
    features, logits = network.eval().features(images)
    assert features.shape == (2, dimension) and logits.shape == (2, 7)
    assert network.dimension == dimension
    torch.testing.assert_close(network(images), logits)
    torch.testing.assert_close(network.linear(features), logits)


def test_layers_are_as_published() -> None:
    def convolutions(name: str) -> list[tuple[int, int, int, int]]:
        network = build_classifier(name, "none", resolution=32, channels=3, classes=10)
        found = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
        return [(conv.out_channels, conv.kernel_size[0], conv.stride[0], conv.padding[0]) for conv in found]

    assert convolutions("cnn3") == [(16, 5, 1, 2), (32, 3, 1, 2), (32, 4, 2, 2)]
    assert convolutions("vgg7") == [(n, 3, 1, 1) for n in (32, 32, 64, 64, 128)] + [(256, 3, 1, 0)]
    pools = [m for m in build_classifier("vgg7", "sn", resolution=32, channels=3, classes=10).modules()]
    assert sum(isinstance(module, nn.MaxPool2d) for module in pools) == 4


def test_one_seed_has_the_same_raw_weights_under_every_norm() -> None:
    def weight(norm: str) -> torch.Tensor:
        network = build_classifier("vgg7", norm, resolution=32, channels=3, classes=10, seed=5)
        found = {name: value for name, value in network.named_parameters() if value.dim() == 4}
        return next(iter(found.values()))

    torch.testing.assert_close(weight("bn"), weight("none"), rtol=0, atol=0)
    torch.testing.assert_close(weight("msn"), weight("none"), rtol=0, atol=0)
    names = [
        name for name, _, _ in spectral_norms(build_classifier("vgg7", "msn", resolution=32, channels=3, classes=2))
    ]
    assert len(names) == 7 and "linear" in names


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_images_that_are_too_small(name: str) -> None:
    smallest = CLASSIFIERS[name].smallest
    build_classifier(name, "none", resolution=smallest, channels=1, classes=2)
    if smallest == 1:
        return
    with pytest.raises(UsageError, match=f"--model {name}: too deep for images of {smallest - 1} pixels") as caught:
        build_classifier(name, "none", resolution=smallest - 1, channels=1, classes=2)
    assert f"use --resolution {smallest} or more, or another model (cnn3" in str(caught.value)


def test_unknown_names() -> None:
    shape = {"resolution": 32, "channels": 1, "classes": 2}
    with pytest.raises(UsageError, match="--model vgg: no such classifier; choose from cnn3, vgg7, densenet-bc, resn"):
        build_classifier("vgg", "bn", **shape)
    with pytest.raises(UsageError, match="--norms batch: choose from none, wn"):
        build_classifier("vgg7", "batch", **shape)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    network = build_classifier("vgg7", "msn", resolution=32, channels=1, classes=10, seed=1)
    checkpoint.save_checkpoint(
        tmp_path / "c.pt", classifier_state(network, "vgg7", "msn", [str(digit) for digit in range(10)])
    )
    return tmp_path / "c.pt"


def test_checkpoint_round_trip(saved: Path) -> None:
    state = checkpoint.load_checkpoint(saved)
    assert {key: state[key] for key in ("schema", "kind", "model", "norm", "channels", "resolution")} == {
        "schema": 1,
        "kind": "classifier",
        "model": "vgg7",
        "norm": "msn",
        "channels": 1,
        "resolution": 32,
    }
    loaded = classifier_from_state(state, saved)
    original = build_classifier("vgg7", "msn", resolution=32, channels=1, classes=10, seed=1).eval()
    x = torch.randn(2, 1, 32, 32)
    torch.testing.assert_close(loaded(x), original(x), rtol=0, atol=0)
    assert not loaded.training


def test_bad_checkpoints(saved: Path) -> None:
    state = checkpoint.load_checkpoint(saved)
    with pytest.raises(UserError, match=r"c.pt: is not a checkpoint of a classifier \(kind: gan\)"):
        classifier_from_state({**state, "kind": "gan"}, "c.pt")
    for changed in ({"model": "vgg99"}, {"norm": "bn"}, {"classes": ["one"]}, {"weights": None}):
        with pytest.raises(UserError, match="c.pt: does not fit this version of msn-gan"):
            classifier_from_state({**state, **changed}, "c.pt")


def test_extractor(saved: Path) -> None:
    before = torch.get_rng_state()
    extractor = create_extractor(ExtractorOptions(f"classifier:{saved}", batch=3))
    images = torch.randint(0, 256, (7, 3, 32, 32), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    features, logits = extractor.features(images)
    assert torch.equal(torch.get_rng_state(), before)
    assert (features.shape, logits.shape) == ((7, 256), (7, 10)) == ((7, extractor.dimension), (7, extractor.classes))
    network = classifier_from_state(checkpoint.load_checkpoint(saved), saved)
    with torch.no_grad():
        expected = network.features(images.float().mean(1, keepdim=True) / 127.5 - 1)
    torch.testing.assert_close(features, expected[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(logits, expected[1], rtol=1e-4, atol=1e-5)
    assert extractor.features(images.repeat_interleave(2, 2).repeat_interleave(2, 3))[0].shape == (7, 256)
    assert len(extractor.hash) == 64 and extractor.protocol.weights == extractor.hash
    assert extractor.protocol.layer == "vgg7 penultimate (256), logits (10)"


def test_an_older_file_has_an_unknown_accuracy(saved: Path) -> None:
    extractor = create_extractor(ExtractorOptions(f"classifier:{saved}"))
    assert extractor.protocol.extractor_accuracy == "unknown, not recorded in the file; trained on unknown images"
    assert extractor.warnings == (
        f"the test accuracy of {saved} is unknown: scores in the features of a poor classifier mislead",
    )


@pytest.mark.parametrize(
    "accuracy, classes, warned", [(0.14, 10, True), (0.49, 10, True), (0.5, 10, False), (0.7, 2, True), (0.8, 2, False)]
)
def test_the_quality_of_a_classifier(accuracy: float, classes: int, warned: bool) -> None:
    images = {"data": "sets/cats.zip", "test_data": "sets/test.zip", "data_root": "data", "limit": None}
    quality = {"test_accuracy": accuracy, "test_images": 355, "train_images": 1442}
    found = ClassifierQuality.of({"training": {"images": images, "quality": quality}})
    assert found.text() == f"{accuracy:.2%} of 355 test images of test.zip; trained on 1,442 images of cats.zip"
    lines = found.warnings("c.pt", classes)
    assert bool(lines) == warned and all("c.pt is a poor classifier" in line for line in lines)
    older = ClassifierQuality.of({"training": {"images": images}})
    assert older.text() == "unknown, not recorded in the file; trained on images of cats.zip" and older.warnings(
        "c", 10
    )
    for damaged in ({}, {"training": None}, {"training": {"images": 3, "quality": "good"}}):
        assert ClassifierQuality.of(damaged).accuracy is None


def test_extractor_refuses(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--precision bf16: classifier features are computed in fp32 only"):
        create_extractor(ExtractorOptions(f"classifier:{saved}", precision="bf16"))
    with pytest.raises(UsageError, match="name a trained checkpoint, as in classifier:"):
        create_extractor(ExtractorOptions("classifier"))
    small = build_classifier("cnn3", "sn", resolution=28, channels=1, classes=10)
    checkpoint.save_checkpoint(tmp_path / "cnn3.pt", classifier_state(small, "cnn3", "sn", "0123456789"))
    with pytest.raises(UserError, match="cnn3 has 8,192 features, too many for a covariance"):
        create_extractor(ExtractorOptions(f"classifier:{tmp_path / 'cnn3.pt'}"))
