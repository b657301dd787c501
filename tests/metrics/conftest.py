"""Fixtures of the metric tests: pictures, a random Inception in the format of the weights file, the digits network."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import pytorch_fid.inception
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan.metrics.digits import DigitsExtractor
from gan.metrics.extractor import Extractor, ExtractorOptions
from gan.metrics.extractors import create_extractor
from gan.metrics.feature_pass import ImageStream
from gan.metrics.preprocess import pytorch_fid as preprocess


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    """Inception, unlike the tiny networks of other tests, is faster on all cores that this process has for itself."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))))
    yield
    torch.set_num_threads(before)


def _pictures(count: int, size: int = 32, seed: int = 0, channels: int = 3) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, channels, 6, 6, generator=draw) * 255
    fine = torch.randn(count, channels, size, size, generator=draw) * 12
    x = F.interpolate(coarse, size=(size, size), mode="bicubic") + fine
    return x.round().clamp(0, 255).to(torch.uint8)


@pytest.fixture(scope="session")
def pictures() -> Callable[..., Tensor]:
    """`pictures(count, size, seed, channels)`: smooth colours with some grain, uint8 (N, C, size, size)."""
    return _pictures


@pytest.fixture(scope="session")
def stream() -> Callable[..., ImageStream]:
    """`stream(images, batch, name)`: a tensor of images as a stream."""

    def make(images: Tensor, batch: int = 7, name: str = "a set") -> ImageStream:
        return ImageStream(name, len(images), lambda: iter(images.split(batch)))

    return make


@pytest.fixture(scope="session")
def inception_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file like the published one, of random weights.

    Batch norms are calibrated on pictures so that activations keep their size through the layers, and shifted so that
    most of them are positive: a random network without that shift blows rounding up by two orders of magnitude.
    """
    path = tmp_path_factory.mktemp("weights") / "random.pth"
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng():
        torch.manual_seed(0)
        patch.setattr(pytorch_fid.inception, "load_state_dict_from_url", lambda *args, **options: {})
        patch.setattr(nn.Module, "load_state_dict", lambda *args, **options: None)
        network = pytorch_fid.inception.fid_inception_v3()
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
            if isinstance(module, nn.BatchNorm2d):
                nn.init.ones_(module.bias)
                module.momentum = None  # averages over all batches that come
        network.train()
        with torch.no_grad():
            network(preprocess(_pictures(8, seed=99)))
    state = {name: value for name, value in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    torch.save(state, path)
    return path


@pytest.fixture(scope="session")
def inception(inception_weights: Path) -> Callable[..., Extractor]:
    """`inception(preprocess, precision)`: the extractor on the random weights, made once."""
    made: dict[tuple[str, str], Extractor] = {}

    def make(preprocess: str = "pytorch-fid", precision: str = "fp32") -> Extractor:
        key = (preprocess, precision)
        if key not in made:
            options = ExtractorOptions(
                "inception", preprocess, precision, weights=inception_weights, allow_other_weights=True
            )
            made[key] = create_extractor(options)
        return made[key]

    return make


@pytest.fixture(scope="session")
def digits() -> DigitsExtractor:
    """The shipped digits extractor."""
    return DigitsExtractor(ExtractorOptions())
