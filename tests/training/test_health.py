"""Health flags: raised when they should be, and only then."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gan.errors import Diverged
from gan.training.health import Health, gradient_norm, require_finite, require_finite_means, variety


def test_gradient_norm() -> None:
    network = nn.Linear(3, 2)
    network.weight.grad = torch.full((2, 3), 2.0)
    network.bias.grad = torch.full((2,), 1.0)
    norm = gradient_norm(network)
    assert norm.item() == pytest.approx(26**0.5)
    require_finite("D", network, torch.tensor(0.0), norm, 1)


def test_a_bad_gradient_names_step_and_layer() -> None:
    network = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    network[1].weight.grad[0, 0] = float("nan")
    with pytest.raises(Diverged, match=r"step 7: the discriminator has diverged: a gradient .*first in 1\.weight; try"):
        require_finite("the discriminator", network, torch.tensor(0.0), gradient_norm(network), 7)
    network[1].weight.grad.zero_()
    with pytest.raises(Diverged, match="its loss is not finite; try"):
        require_finite("the discriminator", network, torch.tensor(float("inf")), gradient_norm(network), 7)


def test_means_that_are_not_finite_are_named() -> None:
    require_finite_means({"loss_d": 1.0, "loss_g": 2.0}, 1, 9)
    with pytest.raises(Diverged, match="steps 1 to 9: training has diverged: loss_g not finite; try"):
        require_finite_means({"loss_d": 1.0, "loss_g": float("nan")}, 1, 9)


def test_discriminator_at_chance_for_long() -> None:
    health = Health()
    assert [health.update(100, 0.51, 1.0) for _ in range(6)] == [(), (), (), (), ("d-at-chance",), ()]
    assert health.flagged == ("d-at-chance",)
    health.update(100, 0.7, 1.0)
    assert health.flagged == () and health.chance == 0
    for _ in range(5):  # a dead D gives many pairs the same logit
        health.update(100, 0.25, 1.0)
    assert health.flagged == ("d-at-chance",)


def test_discriminator_separates_for_long() -> None:
    health = Health(separates=400)
    assert health.update(100, 1.0, 1.0) == ("d-separates",)
    assert Health(**health.state()).flagged == ("d-separates",)


def test_variety_is_the_distance_to_the_nearest_other_image() -> None:
    generator = torch.Generator().manual_seed(0)
    real, images = (torch.rand(12, 3, 8, 8, dtype=torch.float64, generator=generator) for _ in range(2))

    def nearest(x: Tensor) -> float:
        return sum(min((a - b).norm().item() for b in x if b is not a) for a in x) / len(x)

    assert variety(images, real).item() == pytest.approx(nearest(list(images)) / nearest(list(real)), rel=1e-5)
    assert variety(images[:1], real[:1]) == 1


@pytest.mark.parametrize("kinds", [1, 4])
def test_few_kinds_of_images_have_little_variety(kinds: int) -> None:
    """Be it one kind, or a few, whose spread over the batch is that of the real images."""
    generator = torch.Generator().manual_seed(0)
    real = torch.rand(16, 3, 8, 8, generator=generator)
    collapsed = real[:kinds].repeat(16 // kinds, 1, 1, 1) + 0.01 * torch.rand(16, 3, 8, 8, generator=generator)
    assert variety(collapsed, real) < 0.05
    assert variety(real.flip(0), real) == pytest.approx(1)


def test_images_that_are_alike_for_long() -> None:
    health = Health()
    assert [health.update(100, 0.8, 0.4) for _ in range(6)] == [(), (), (), (), ("g-collapsed",), ()]
    health.update(50, 0.8, 0.7)
    assert health.flagged == () and health.alike == 0
    assert Health(alike=450).update(50, 0.8, 0.4) == ("g-collapsed",)


def test_images_that_are_the_same() -> None:
    health = Health()
    assert [health.update(50, 0.8, 0.05) for _ in range(3)] == [(), ("g-collapsed",), ()]
    assert health.alike == 150
