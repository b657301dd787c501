"""Metrics on features on the fake device: KID, precision and recall, density and coverage, nearest images.

Moments, the Fréchet distance and the Inception score are computed by numpy, on the CPU by design: they get the features
that the extractors return there. So are the tests of copies after the distances (k-means, ranks).
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from gan.metrics import kid
from gan.metrics.authenticity import auth_pct, copying_ratios, nearest, nearest_in
from gan.metrics.distances import squared_distances
from gan.metrics.precision_recall import manifold_scores, nearest_distances, precision_recall
from gan.runtime import Runtime
from tests.helpers.fake_device import device_only

CPU = torch.device("cpu")
WHERE = ["memory", "device"]


@pytest.fixture(params=WHERE)
def features(request: pytest.FixtureRequest, gpu: Runtime) -> tuple[Tensor, Tensor]:
    """Real and generated features in main memory or on the device, in several blocks."""
    device = gpu.device if request.param == "device" else CPU
    return torch.randn(2100, 4, device=device), torch.randn(1100, 4, device=device)


def test_precision_and_recall(features: tuple[Tensor, Tensor], gpu: Runtime) -> None:
    real, generated = features
    radii = nearest_distances(real, 5, gpu.device)
    assert radii.device == CPU and radii.shape == (2100, 5)
    for known in (None, radii):
        scores = manifold_scores(real, generated, device=gpu.device, real_nearest=known)
        assert scores.precision == 1  # the number that every read returns
    precision_recall(real, generated, device=gpu.device)


def test_nearest_images(features: tuple[Tensor, Tensor], gpu: Runtime) -> None:
    found = nearest(*features, device=gpu.device)
    assert found.indices.device == found.squared_distance.device == CPU
    radii = nearest_distances(features[0], 1, gpu.device)[:, 0]
    auth_pct(found, radii)
    assert copying_ratios(found, radii).shape == (1100,)


@pytest.mark.parametrize("all_pairs", [True, False])
def test_kid(all_pairs: bool, gpu: Runtime) -> None:
    real, generated = np.ones((60, 4), np.float32), np.ones((40, 4), np.float32)
    subsets, size = (10, 20) if all_pairs else (2, 10)
    mean, deviation = kid.kernel_distance(real, generated, subsets, size, device=gpu.device)
    assert (mean, deviation) == (1, 0)  # the number that every read returns


def test_distances_stay_on_the_device(gpu: Runtime) -> None:
    x, y = torch.randn(6, 4, device=gpu.device).double(), torch.randn(5, 4, device=gpu.device).double()
    with device_only():
        assert squared_distances(x, y).shape == (6, 5)
        assert nearest_in([y, y], x).indices.device == gpu.device
