"""Feature extractors on the fake device; images come from the CPU, and the features return to it, by design.

DINOv2 is its network with random weights, in one block. Around it, and around CLIP, torch-fidelity resizes and
normalizes the images with code of its own.
"""

from __future__ import annotations

import pytest
import pytorch_fid.inception
import torch
from torch import Tensor, nn

from gan.metrics.batched_inference import BatchedExtractor
from gan.metrics.classifier_extractor import ClassifierExtractor
from gan.metrics.digits import DIGITS_SIZE, DigitsExtractor, DigitsNetwork
from gan.metrics.dinov2_network import Dinov2, Dinov2Size
from gan.metrics.inception_extractor import InceptionExtractor, _trunk
from gan.metrics.preprocess import PREPROCESS, for_classifier
from gan.models.classifiers import build_classifier
from gan.runtime import Runtime
from tests.helpers.fake_device import DeviceOnly

CPU = torch.device("cpu")


def prepared(kind: type[BatchedExtractor], gpu: Runtime, **parts: object) -> BatchedExtractor:
    """An extractor without the files that its constructor reads."""
    extractor = kind.__new__(kind)
    vars(extractor).update(device=gpu.device, batch_size=4, **parts)
    return extractor


def features(extractor: BatchedExtractor, size: int, dimension: int) -> None:
    """Extract features of images in batches; all of the forward pass is on the device."""
    with DeviceOnly(), torch.inference_mode():
        extractor._forward(torch.zeros(4, 3, size, size, dtype=torch.uint8, device=extractor.device))
    found, logits = extractor.features(torch.zeros(6, 3, size, size, dtype=torch.uint8))
    assert found.device == logits.device == CPU
    assert found.shape == (6, dimension)


@pytest.mark.parametrize("dtype", [torch.bfloat16, pytest.param(torch.float32, marks=pytest.mark.slow)])
def test_inception(dtype: torch.dtype, gpu: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nn.Module, "load_state_dict", lambda module, state: None)
    monkeypatch.setattr(pytorch_fid.inception, "load_state_dict_from_url", lambda *args, **options: {})
    network = pytorch_fid.inception.fid_inception_v3().eval().requires_grad_(False)
    weights = network.get_parameter("fc.weight").to(gpu.device)
    parts = {"_trunk": _trunk(network, dtype).to(gpu.device), "_class_weights": weights, "_dtype": dtype}
    features(prepared(InceptionExtractor, gpu, _preprocess=PREPROCESS["pytorch-fid"], **parts), 32, 2048)


@pytest.mark.parametrize("size", [32, 320])
@pytest.mark.parametrize("name", PREPROCESS)
def test_preprocessing(name: str, size: int, gpu: Runtime) -> None:
    images = torch.zeros(2, 3, size, size, dtype=torch.uint8, device=gpu.device)
    assert PREPROCESS[name](images).device == gpu.device
    assert for_classifier(images, DIGITS_SIZE, channels=1).device == gpu.device


def test_digits(gpu: Runtime) -> None:
    network = DigitsNetwork().to(gpu.device).eval().requires_grad_(False)
    features(prepared(DigitsExtractor, gpu, _network=network), 32, 64)


@pytest.mark.parametrize("model", ["cnn3", "vgg7"])
def test_a_classifier(model: str, gpu: Runtime) -> None:
    network = build_classifier(model, "msn", resolution=32, channels=3, classes=3, seed=0).to(gpu.device).eval()
    features(prepared(ClassifierExtractor, gpu, _network=network.requires_grad_(False)), 48, network.dimension)


@pytest.mark.parametrize("gated", [False, True])
def test_dinov2(gated: bool, gpu: Runtime) -> None:
    network = Dinov2(Dinov2Size("small", 24, 1, 3, gated)).to(gpu.device).eval()
    images: Tensor = torch.randn(2, 3, 224, 224, device=gpu.device)
    with DeviceOnly(), torch.inference_mode():
        assert network(images).device == gpu.device
