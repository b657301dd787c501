"""DINOv2's network, held to the published code."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gan.metrics.dinov2_network import SIZES, Dinov2, Dinov2Size


@pytest.mark.parametrize(
    "gated, expected",
    [
        (False, [1.47495, -0.85797, -0.03813, -2.58626, -0.14987, 1.22785, 0.17705, 0.93351]),
        (True, [0.71427, -1.85039, -2.48669, -0.46157, 1.25223, 0.26026, -0.87602, 0.52984]),
    ],
)
def test_network_is_the_published_one(gated: bool, expected: list[float]) -> None:
    """The numbers are those of facebookresearch/dinov2 at commit b8931f7, with the same weights."""
    network = Dinov2(Dinov2Size("tiny", 24, 2, 3, gated))
    state = network.state_dict()
    for index, (name, value) in enumerate(sorted(state.items())):
        weights = 0.3 * np.sin(np.arange(value.numel()) * 0.7 + index) + ("norm" in name and "weight" in name)
        state[name] = torch.from_numpy(weights).float().reshape(value.shape)
    network.load_state_dict(state)
    image = torch.from_numpy(np.sin(np.arange(3 * 224 * 224) * 0.01)).float().reshape(1, 3, 224, 224)
    with torch.no_grad():
        features = network(image)
    torch.testing.assert_close(features[0, :8], torch.tensor(expected), rtol=0, atol=3e-5)


@pytest.mark.parametrize("key, millions", [("s", 22.1), ("b", 86.6), ("l", 304.4), ("g", 1136.5)])
def test_sizes_are_the_published_ones(key: str, millions: float) -> None:
    with torch.device("meta"):
        network = Dinov2(SIZES[key])
    assert sum(parameter.numel() for parameter in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.1)
