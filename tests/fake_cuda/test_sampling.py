"""Samples on the fake device; latents and labels are drawn on the CPU, and the images returned to it, by design.

Truncated latents are drawn there until all lie within the bounds, which needs their values: they have no test here.

Truncated latents, drawn again until all are within the bounds, need their values; they are on the CPU too.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from gan.config.train_config import TrainConfig
from gan.models import build_generator
from gan.runtime import Runtime
from gan.sampling.generate import latents, render, sample_images, to_uint8
from gan.sampling.interpolation import interpolate
from tests.helpers.fake_device import device_only

CPU = torch.device("cpu")


@pytest.mark.parametrize("network", ["dcgan", "resnet"])
@pytest.mark.parametrize("classes", [0, 3])
def test_images_of_a_generator(network: str, classes: int, gpu: Runtime, tiny: Callable[..., TrainConfig]) -> None:
    generator = gpu.place(build_generator(tiny(network=network), classes))
    for images, labels in sample_images(generator, 70, 0, latent_dim=8, classes=classes):
        assert images.device == CPU and images.dtype == torch.uint8
        assert (labels is None) == (not classes)
    z = torch.randn(3, 8, device=gpu.device)
    y = torch.zeros(3, dtype=torch.int64, device=gpu.device) if classes else None
    with device_only(), torch.no_grad():
        assert to_uint8(generator.eval()(z, y)).device == gpu.device


def test_latents_on_the_device(gpu: Runtime, tiny: Callable[..., TrainConfig]) -> None:
    generator = gpu.place(build_generator(tiny()))
    z = latents(0, range(3), 8).to(gpu.device)
    frames = interpolate(z, 2, closed=True)
    assert frames.device == gpu.device
    assert render(generator, frames).shape == (6, 3, 32, 32)
