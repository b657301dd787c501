"""Folding for export: exact for every preset, norm and classifier, and what cannot fold is named."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gan.config.presets import PRESETS
from gan.config.train_config import TrainConfig
from gan.export.folding import ConditionalScaleShift, ScaleShift, fold_to_plain_layers
from gan.export.network import norm_of_generator
from gan.models import build_discriminator, build_generator
from gan.models.blocks import ConditionalBatchNorm2d
from gan.models.classifiers import CLASSIFIERS, build_classifier
from gan.norm import NORMS, Centering, Normalized

Live = Callable[[nn.Module], nn.Module]
_NORMALIZING = (nn.modules.batchnorm._BatchNorm, Centering, ConditionalBatchNorm2d)
_INPUT_NORMS = ("ln", "in", "group")


def narrow(name: str) -> tuple[TrainConfig, int]:
    """The preset with few channels, and its number of classes."""
    width = 4 if PRESETS[name].network != "r3gan" else 64  # a multiple of which fits all of its resolutions
    config = PRESETS[name].replace({"g_width": width, "d_width": width, "latent_dim": 8})
    return config, 3 if config.conditional else 0


def agree(network: nn.Module, *inputs: Tensor) -> None:
    """Folded and unfolded outputs are the same function (in float64), and no normalization is left to compute."""
    network = copy.deepcopy(network).double()
    folded = fold_to_plain_layers(network).network
    wide = [value.double() if value.is_floating_point() else value for value in inputs]
    with torch.no_grad():
        expected, got = network(*wide), folded(*wide)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-11 * max(1.0, expected.abs().max().item()))
    for module in folded.modules():
        assert not isinstance(module, _NORMALIZING) and not parametrize.is_parametrized(module)


@pytest.mark.parametrize("name", PRESETS)
def test_generators(lived: Live, name: str) -> None:
    config, classes = narrow(name)
    network = lived(build_generator(config, classes))
    labels = (torch.tensor([2, 0, 1]),) if classes else ()
    agree(network, torch.randn(3, 8), *labels)


@pytest.mark.parametrize("name", PRESETS)
def test_discriminators(lived: Live, name: str) -> None:
    config, classes = narrow(name)
    network = lived(build_discriminator(config, classes))
    labels = (torch.tensor([2, 0, 1]),) if classes else ()
    agree(network, torch.randn(3, config.channels, config.resolution, config.resolution), *labels)
    assert not fold_to_plain_layers(network).describe_remaining()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("network", ["dcgan", "resnet"])
def test_norms_of_discriminators(lived: Live, network: str, norm: str) -> None:
    config = TrainConfig().replace({"d_width": 4, "norm": norm, "network": network})
    discriminator = lived(build_discriminator(config))
    agree(discriminator, torch.randn(3, 3, 32, 32))
    folded = fold_to_plain_layers(discriminator)
    assert bool(folded.kept) == (norm in _INPUT_NORMS) and not folded.constant
    hidden, output = (7, 1) if network == "dcgan" else (10, 1)
    assert (
        folded.folded
        == {
            "none": {},
            "bn": {"batch norm": hidden},
            "ln": {},
            "in": {},
            "group": {},
            "wn": {"weight norm": hidden + output},
            "mean": {"centering": hidden},
            "affine-mean": {"centering": hidden},
            "sn": {"spectral norm": hidden + output},
            "bssn": {"bidirectional spectral norm": hidden, "spectral norm": output},
            "sn-conv": {"convolution spectral norm": hidden, "spectral norm": output},
            "orth": {"orthogonal weight": hidden + output},
            "gradnorm": {},
            "msn": {"spectral norm": hidden + output, "centering": hidden},
            "msn-affine": {"spectral norm": hidden + output, "centering": hidden},
        }[norm]
    )


@pytest.mark.parametrize("norm", ["bn", "in", "msn"])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers(lived: Live, name: str, norm: str) -> None:
    network = lived(build_classifier(name, norm, resolution=32, channels=3, classes=5))
    agree(network, torch.rand(2, 3, 32, 32) * 2 - 1)
    folded = fold_to_plain_layers(network)
    # A batch norm may be left only as a constant, and only where it reads what several layers gave.
    assert not folded.constant or norm == "bn"
    assert bool(folded.kept) == (norm in _INPUT_NORMS)
    assert folded.folded or norm in _INPUT_NORMS


def test_what_stays_is_named(lived: Live) -> None:
    config, _ = narrow("sngan-resnet")
    told = fold_to_plain_layers(lived(build_generator(config))).describe_remaining()
    replaced = "a constant scale and shift (no layer before it, or class-conditional): blocks.0.norm (BatchNorm2d), "
    assert len(told) == 1 and f"{replaced}blocks.1.norm" in told[0]
    assert told[0].endswith(", norm (BatchNorm2d)") and "conv1" not in told[0]
    told = fold_to_plain_layers(lived(build_discriminator(config.replace({"norm": "ln"})))).describe_remaining()
    assert (
        len(told) == 1
        and "not folded (computes statistics of each input), unchanged: blocks.0.conv1.norm (GroupNorm), " in told[0]
    )


def test_pre_activation_order(lived: Live) -> None:
    """A batch norm before its ReLU and convolution, as in DenseNet, and a centering that stands alone."""
    network = lived(
        nn.Sequential(
            nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), Centering(4, scale=True)
        )
    )
    agree(network, torch.randn(2, 3, 8, 8))
    folded = fold_to_plain_layers(network)
    assert folded.constant == {"0": "BatchNorm2d", "5": "Centering"} and folded.folded == {"batch norm": 1}


def test_batch_norm_without_running_statistics_stays() -> None:
    network = Normalized(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2, track_running_stats=False)).eval()
    assert fold_to_plain_layers(network).kept == {"norm": "BatchNorm2d"}
    network = nn.Sequential(ConditionalBatchNorm2d(2, 3)).eval()
    network[0].norm = nn.BatchNorm2d(2, affine=False, track_running_stats=False)
    assert fold_to_plain_layers(network).kept == {"0.norm": "BatchNorm2d"}


def test_constants_of_maps_and_vectors() -> None:
    scale, shift = torch.randn(3), torch.randn(3)
    layer = ScaleShift(scale, shift)
    for h in (torch.randn(2, 3), torch.randn(2, 3, 4), torch.randn(2, 3, 4, 5)):
        expected = (h.movedim(1, -1) * scale + shift).movedim(-1, 1)
        torch.testing.assert_close(layer(h), expected)
    table = ConditionalScaleShift(torch.randn(5, 3), torch.randn(5, 3))
    h, labels = torch.randn(2, 3, 4, 4), torch.tensor([4, 1])
    for row, label in enumerate(labels):
        expected = h[row] * table.scale[label, :, None, None] + table.shift[label, :, None, None]
        torch.testing.assert_close(table(h, labels)[row], expected)


def test_the_trained_network_is_not_changed(lived: Live) -> None:
    network = lived(build_generator(narrow("sngan-projection")[0], 3))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    fold_to_plain_layers(network)
    torch.testing.assert_close(network.state_dict(), before, rtol=0, atol=0)


@pytest.mark.parametrize(
    "preset, classes, norm", [("msn-dcgan", 0, "bn"), ("sngan-projection", 3, "bn"), ("r3gan-narrow", 0, "none")]
)
def test_the_norm_of_a_generator(preset: str, classes: int, norm: str) -> None:
    assert norm_of_generator(build_generator(narrow(preset)[0], classes)) == norm
