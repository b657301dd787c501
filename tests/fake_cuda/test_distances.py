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
from gan.metrics.authenticity import auth_pct, copying_ratios, nearest
from gan.metrics.precision_recall import manifold_scores, nearest_distances, precision_recall
from gan.runtime import Runtime

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


@pytest.mark.parametrize("subsets", [2, 100], ids=["subsets", "all pairs"])
def test_kid(subsets: int, gpu: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """From arrays, whose values a fake tensor does not get."""
    monkeypatch.setattr(
        torch, "from_numpy", lambda array: torch.zeros(array.shape, dtype=getattr(torch, array.dtype.name))
    )
    real, generated = (np.zeros((count, 4), np.float32) for count in (50, 40))
    mean, deviation = kid.kernel_distance(real, generated, subsets, 20, device=gpu.device)
    assert (mean, deviation) == (1, 0)  # of the number that every read returns


def test_nearest_images(features: tuple[Tensor, Tensor], gpu: Runtime) -> None:
    found = nearest(*features, device=gpu.device)
    assert found.indices.device == found.squared_distance.device == CPU
    radii = nearest_distances(features[0], 1, gpu.device)[:, 0]
    auth_pct(found, radii)
    assert copying_ratios(found, radii).shape == (1100,)
