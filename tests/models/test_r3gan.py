"""R3GAN's networks against the authors' parameter counts, an independent formula, and what norms make of them."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan.config.train_config import TrainConfig
from gan.errors import UsageError
from gan.models import build_discriminator, build_generator, count_parameters
from gan.models.blocks import DiscriminatorNorm
from gan.models.r3gan import Downsample, R3GANDiscriminator, ResidualBlock
from gan.nn.losses import squared_gradient
from gan.norm import NORMS, fold, power_iterate


def config_of(resolution: int = 32, width: int | None = 16, norm: str = "none", **given: Any) -> TrainConfig:
    sizes = {"resolution": resolution, "g_width": width, "d_width": width}
    return TrainConfig(network="r3gan", latent_dim=64, norm=norm, **sizes, **given)


@pytest.mark.parametrize(
    "resolution, width, classes, generator, discriminator",
    [
        (32, None, 0, 20_732_160, 20_683_776),
        (32, None, 10, 20_781_952, 21_280_512),
        (64, None, 0, 22_429_824, 22_381_440),
        (256, None, 0, 23_057_952, 23_009_568),
        (32, 48, 0, 189_840, 186_816),
    ],
)
def test_parameters_are_those_of_the_authors_code(
    resolution: int, width: int | None, classes: int, generator: int, discriminator: int
) -> None:
    config = config_of(resolution, width)
    assert count_parameters(build_generator(config, classes)) == generator
    assert count_parameters(build_discriminator(config, classes)) == discriminator


@pytest.mark.parametrize("resolution", [32, 64, 128, 256])
def test_shapes(resolution: int) -> None:
    config = config_of(resolution, 64 if resolution > 64 else 16)
    generator, discriminator = build_generator(config, 3), build_discriminator(config, 3)
    labels = torch.tensor([0, 2])
    images = generator(torch.randn(2, 64), labels)
    assert images.shape == (2, 3, resolution, resolution)
    assert discriminator(images, labels).shape == (2,)
    assert not torch.equal(generator(torch.ones(2, 64), labels)[0], generator(torch.ones(2, 64), labels.flip(0))[0])


def _activation(x: Tensor, bias: Tensor) -> Tensor:
    x = x + bias.view(1, -1, 1, 1)
    return torch.where(x > 0, x, 0.2 * x)


def test_a_block_by_an_independent_formula() -> None:
    """1×1 convolutions as matrix products, the grouped one group by group; a bias before each activation."""
    torch.manual_seed(0)
    block = ResidualBlock(16, depth=8).double()
    for parameter in block.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(2, 16, 5, 5, dtype=torch.float64)
    h = torch.einsum("oi,nihw->nohw", block.expand.weight[:, :, 0, 0], x)
    h = _activation(h, block.expand.bias)
    groups = [
        F.conv2d(h[:, 16 * g : 16 * (g + 1)], block.grouped.weight[16 * g : 16 * (g + 1)], padding=1) for g in (0, 1)
    ]
    h = _activation(torch.cat(groups, 1), block.grouped.bias)
    expected = x + torch.einsum("oi,nihw->nohw", block.project.weight[:, :, 0, 0], h)
    torch.testing.assert_close(block(x), expected, rtol=1e-12, atol=1e-12)


def test_initial_weights() -> None:
    """Standard deviations as published; a block starts as the identity."""
    torch.manual_seed(0)
    block = ResidualBlock(256, depth=8)
    gain = math.sqrt(2 / 1.04) * 8**-0.25
    assert block.expand.weight.std().item() == pytest.approx(gain / math.sqrt(256), rel=0.02)
    assert block.grouped.weight.std().item() == pytest.approx(gain / math.sqrt(16 * 9), rel=0.02)
    x = torch.randn(2, 256, 4, 4)
    assert torch.equal(block(x), x)


@pytest.mark.parametrize("norm", sorted(NORMS))
def test_every_norm_in_the_discriminator(norm: str) -> None:
    """Finite logits and second derivatives; the same raw weights, but for zeros that no weight map can have."""
    plain = {name: value for name, value in build_discriminator(config_of()).named_parameters()}
    discriminator = build_discriminator(config_of(norm=norm))
    power_iterate(discriminator)
    images = torch.randn(4, 3, 32, 32, requires_grad=True)
    critic = NORMS[norm].logits
    logits = critic(discriminator, images)
    loss = logits.mean() + squared_gradient(logits, images)
    loss.backward()
    assert math.isfinite(loss.item()) and loss.item() != 0
    assert all(
        torch.isfinite(parameter.grad).all() for parameter in discriminator.parameters() if parameter.grad is not None
    )
    raw = dict(discriminator.named_parameters())
    for name, value in plain.items():
        own = next(
            (raw[key] for key in raw if key.replace("parametrizations.", "").replace(".original", "") == name), None
        )
        if own is not None and own.shape == value.shape:
            assert torch.equal(own, value) or not value.any(), name


@pytest.mark.parametrize("norm", ["mean", "msn", "bn"])
def test_a_feature_norm_leaves_the_mean_logit(norm: str) -> None:
    """Centering stands where biases are, so the logits of a brighter batch are still different in the mean."""
    discriminator = build_discriminator(config_of(norm=norm))
    images = torch.randn(8, 3, 32, 32)
    assert abs((discriminator(images + 1) - discriminator(images)).mean().item()) > 1e-4
    convolutions = [module for module in discriminator.modules() if isinstance(module, nn.Conv2d)]
    normalize = DiscriminatorNorm(NORMS[norm])
    R3GANDiscriminator(32, width=16, normalize=normalize)
    assert normalize.count == 2 * 2 * 4 < len(convolutions)


def test_msn_adds_no_parameters() -> None:
    counts = {norm: count_parameters(build_discriminator(config_of(norm=norm))) for norm in ("none", "sn", "msn")}
    assert len({*counts.values()}) == 1


@pytest.mark.parametrize("norm", ["none", "sn", "msn", "bn"])
def test_folded(norm: str) -> None:
    discriminator = build_discriminator(config_of(norm=norm))
    images = torch.randn(4, 3, 32, 32)
    discriminator(images)
    discriminator.eval()
    torch.testing.assert_close(fold(discriminator)(images), discriminator(images), rtol=1e-5, atol=1e-5)


def test_second_derivatives() -> None:
    """R1's gradient in float64 against finite differences."""
    torch.manual_seed(0)
    block = ResidualBlock(8, depth=2, norm=DiscriminatorNorm(NORMS["sn"])).double()
    down = Downsample(8, 16, DiscriminatorNorm(NORMS["sn"])).double()
    x = torch.randn(1, 8, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: down(block(x)), x)


def test_widths_that_do_not_fit() -> None:
    with pytest.raises(UsageError, match="--g-width 20: --network r3gan at 32 pixels needs a multiple of 8"):
        build_generator(config_of(width=20))
    with pytest.raises(UsageError, match="--d-width 24: --network r3gan at 256 pixels needs a multiple of 64"):
        build_discriminator(config_of(256, 24))
    with pytest.raises(UsageError, match="--resolution 48: choose from 32, 64, 128, 256 for --network r3gan"):
        config_of(48)
