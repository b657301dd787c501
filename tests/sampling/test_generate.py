"""Sampling: functions of (seed, index), exact rounding, walks."""

from __future__ import annotations

import pytest
import torch

from gan.config.train_config import TrainConfig
from gan.data.png_zip import to_pil
from gan.models import build_generator
from gan.sampling import generate
from gan.sampling.grids import image_grid
from gan.sampling.interpolation import interpolate, slerp


@pytest.fixture
def generator() -> torch.nn.Module:
    config = TrainConfig().replace({"g_width": 8, "latent_dim": 16})
    network = build_generator(config, classes=3)
    network(torch.randn(8, 16), torch.zeros(8, dtype=torch.long))
    return network


def images(generator: torch.nn.Module, count: int, seed: int = 0, **options) -> torch.Tensor:
    batches = generate.sample_images(generator, count, seed, latent_dim=16, classes=3, **options)
    return torch.cat([batch for batch, _ in batches])


def test_images_depend_on_seed_and_index_alone(generator: torch.nn.Module) -> None:
    many = images(generator, 130)
    assert many.shape == (130, 3, 32, 32) and many.dtype == torch.uint8
    for count in (1, 7, 64, 65):
        torch.testing.assert_close(images(generator, count), many[:count], rtol=0, atol=0)
    assert not torch.equal(images(generator, 1, seed=1), many[:1])
    assert generator.training  # rendering in evaluation mode leaves the mode as it was


def test_rendering_moves_no_state(generator: torch.nn.Module) -> None:
    before = {key: value.clone() for key, value in generator.state_dict().items()}
    images(generator, 3)
    torch.testing.assert_close(generator.state_dict(), before, rtol=0, atol=0)


def test_classes_take_turns_or_are_fixed() -> None:
    assert generate.labels_in_turn(range(5), 3).tolist() == [0, 1, 2, 0, 1]
    assert generate.labels_in_turn(range(3), 3, fixed=2).tolist() == [2, 2, 2]
    assert generate.labels_in_turn(range(3), 0) is None


def test_latents_are_normal_and_independent() -> None:
    z = generate.latents(0, range(2000), 8)
    assert z.mean().abs() < 0.05 and (z.std() - 1).abs() < 0.02
    assert (torch.corrcoef(z.T) - torch.eye(8)).abs().max() < 0.1
    torch.testing.assert_close(generate.latents(0, [1234], 8)[0], z[1234], rtol=0, atol=0)


def test_truncation() -> None:
    z = generate.latents(0, range(500), 8, truncation=0.5)
    assert z.abs().max() <= 0.5 and z.std() > 0.2


def test_all_256_levels_come_back() -> None:
    levels = torch.arange(256)
    torch.testing.assert_close(generate.to_uint8(levels / 127.5 - 1), levels.to(torch.uint8), rtol=0, atol=0)
    torch.testing.assert_close(
        generate.to_uint8((levels.double() / 127.5 - 1).float()), levels.to(torch.uint8), rtol=0, atol=0
    )
    assert generate.to_uint8(torch.tensor([-2.0, 2.0])).tolist() == [0, 255]


def test_walk() -> None:
    keys = torch.randn(3, 50, dtype=torch.float64)
    path = interpolate(keys, 4)
    assert path.shape == (9, 50)
    torch.testing.assert_close(path[[0, 4, 8]], keys)
    lengths = path.norm(dim=1)
    assert lengths.min() > 0.95 * keys.norm(dim=1).min()  # on the sphere, not through it
    closed = interpolate(keys, 4, closed=True)
    assert closed.shape == (12, 50)
    torch.testing.assert_close(closed[8], keys[2])


def test_slerp_of_parallel_vectors_is_linear() -> None:
    a = torch.tensor([1.0, 2.0])
    torch.testing.assert_close(slerp(a, 3 * a, 0.5), 2 * a)


@pytest.mark.parametrize("channels, mode", [(1, "L"), (3, "RGB")])
def test_pictures(channels: int, mode: str) -> None:
    image = to_pil(torch.zeros(channels, 4, 5, dtype=torch.uint8))
    assert image.mode == mode and image.size == (5, 4)
    sheet = image_grid(torch.zeros(7, channels, 32, 32, dtype=torch.uint8), 3)
    assert sheet.shape == (3, 3 * 33 + 1, 3 * 33 + 1)
    assert sheet[:, 0].eq(255).all() and sheet[:, 1:33, 1:33].eq(0).all()
