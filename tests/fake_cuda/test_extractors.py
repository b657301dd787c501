"""Feature extractors on the fake device; images come from the CPU, and the features return to it, by design.

The weights are random and fake. Content hashes and moments need the values on the CPU: `gan.metrics.feature_pass` adds
them to what the extractors return there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import pytest
import pytorch_fid.inception
import torch
from torch import Tensor, nn

from gan.metrics import batched_inference, fidelity_extractor, inception_extractor
from gan.metrics.batched_inference import BatchedExtractor, full_precision
from gan.metrics.classifier_extractor import ClassifierExtractor
from gan.metrics.digits import DigitsExtractor, DigitsNetwork
from gan.metrics.dinov2_network import Dinov2, Dinov2Size
from gan.metrics.extractor import ExtractorOptions
from gan.metrics.fidelity_extractor import Dinov2Extractor
from gan.metrics.inception_extractor import InceptionExtractor
from gan.metrics.own_extractor import OwnExtractor
from gan.metrics.preprocess import PREPROCESS, for_classifier
from gan.models.classifiers import build_classifier
from gan.runtime import Runtime
from tests.helpers.fake_device import HostTensorError, device_only

CPU = torch.device("cpu")


@pytest.fixture
def on_gpu(gpu: Runtime, monkeypatch: pytest.MonkeyPatch) -> Runtime:
    """Extractors find the fake device, and published weights where they look for them."""
    weights = SimpleNamespace(path=Path("weights"), sha256="0" * 64)
    monkeypatch.setattr(batched_inference, "resolve_device", lambda name: gpu.device)
    monkeypatch.setattr(fidelity_extractor, "locate_weights", lambda *args, **options: weights)
    monkeypatch.setattr(inception_extractor, "locate_inception_weights", lambda *args, **options: weights)
    return gpu


def check(extractor: BatchedExtractor, *, on_device: bool = True, count: int = 5) -> None:
    """Features and logits of images in several batches; and those of one batch, without leaving the device."""
    images = torch.zeros(count, 3, 32, 32, dtype=torch.uint8)
    features, logits = extractor.features(images)
    assert features.shape == (count, extractor.dimension) and features.device == CPU
    assert logits.shape == (count, extractor.classes) and logits.device == CPU
    batch = images[:2].to(extractor.device)
    with torch.inference_mode(), full_precision(extractor.device):
        if on_device:
            with device_only():
                parts = extractor._forward(batch)
        else:
            parts = extractor._forward(batch)
    assert all(part.device == extractor.device for part in parts)


def test_digits(on_gpu: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gan.metrics.digits._load_shipped", lambda path: (b"", DigitsNetwork().eval()))
    check(DigitsExtractor(ExtractorOptions("digits", batch=2)))


@pytest.mark.parametrize("model", ["cnn3", "resnet18"])
def test_classifier(model: str, on_gpu: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    network = build_classifier(model, "bn", resolution=32, channels=1, classes=3).eval()
    file = SimpleNamespace(sha256="0" * 64, state={"model": model, "norm": "bn", "classes": ["a", "b", "c"]})
    monkeypatch.setattr("gan.runs.checkpoint.read_checkpoint", lambda path: file)
    monkeypatch.setattr("gan.metrics.classifier_extractor.classifier_from_state", lambda state, path: network)
    monkeypatch.setattr("gan.metrics.classifier_extractor.MAX_FEATURES", 10**5)
    check(ClassifierExtractor(ExtractorOptions("classifier", weights=Path("classifier.pt"), batch=2)))


def _inception(weights: Path) -> nn.Module:
    with (
        patch.object(pytorch_fid.inception, "load_state_dict_from_url", lambda *args, **options: {}),
        patch.object(nn.Module, "load_state_dict", lambda *args, **options: None),
    ):
        network: nn.Module = pytorch_fid.inception.fid_inception_v3()
    return network.eval().requires_grad_(False)


@pytest.mark.parametrize(
    ("precision", "preprocess"),
    [("bf16", "torch-fidelity"), pytest.param("fp32", "pytorch-fid", marks=pytest.mark.slow)],
)
def test_inception(precision: str, preprocess: str, on_gpu: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inception_extractor, "inception_network", _inception)
    options = ExtractorOptions("inception", precision=precision, preprocess=preprocess, batch=3)
    # torch-fidelity's grid is computed on the CPU, whose rounding is TensorFlow's.
    check(InceptionExtractor(options), on_device=preprocess != "torch-fidelity")


def _normalize(images: Tensor, mean: Sequence[float], std: Sequence[float], inplace: bool) -> Tensor:
    """torchvision's function without its question whether a deviation is 0: each that is asked has the answer yes."""
    return (images - images.new_tensor(mean)[:, None, None]) / images.new_tensor(std)[:, None, None]


@pytest.mark.parametrize("gated", [False, True])
def test_dinov2(gated: bool, on_gpu: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch_fidelity")
    size = Dinov2Size("tiny", 24, 2, 3, gated)
    monkeypatch.setattr("torchvision.transforms.functional.normalize", _normalize)
    monkeypatch.setitem(fidelity_extractor.SIZES, "s", size)
    monkeypatch.setattr(fidelity_extractor, "load_dinov2", lambda path, size: Dinov2(size).eval())
    check(Dinov2Extractor(ExtractorOptions("dinov2:s", batch=2)), on_device=False)  # torch-fidelity's resizing
    network = Dinov2(size).to(on_gpu.device)
    with device_only(), torch.no_grad():
        assert network(torch.zeros(2, 3, 28, 42, device=on_gpu.device)).shape == (2, 24)


def _own(device: torch.device) -> Callable[[Tensor], Tensor]:
    scale = torch.ones(3, device=device)
    return lambda images: images.float().mean((2, 3)) * scale


def test_an_extractor_of_the_users(on_gpu: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gan.config.plugins.record", lambda names, flag: {"": {"sha256": "0" * 64, "version": ""}})
    check(OwnExtractor(_own, ExtractorOptions("own:_own", batch=2)))


@pytest.mark.parametrize("size", [32, 320])
@pytest.mark.parametrize("name", PREPROCESS)
def test_preprocessing(name: str, size: int, gpu: Runtime) -> None:
    images = torch.zeros(2, 3, size, size, dtype=torch.uint8, device=gpu.device)
    assert PREPROCESS[name](images).shape == (2, 3, 299, 299)
    if name == "torch-fidelity":
        with device_only(), pytest.raises(HostTensorError):
            PREPROCESS[name](images)
    else:
        with device_only():
            PREPROCESS[name](images)


@pytest.mark.parametrize("channels", [1, 3])
def test_preprocessing_for_classifiers(channels: int, gpu: Runtime) -> None:
    images = torch.zeros(2, 3, 48, 48, dtype=torch.uint8, device=gpu.device)
    with device_only():
        assert for_classifier(images, 32, channels).shape == (2, channels, 32, 32)
