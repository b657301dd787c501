"""DenseNet-BC, ResNet-18 and ResNet-20: parameter counts in closed form; every classifier under every norm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gan.models.classifiers import CLASSIFIERS, Classifier, build_classifier
from gan.models.densenet import DenseNet
from gan.norm import NORMS, Centering, Normalized, fold, spectral_norms
from tests.helpers.norm_layers import LAYER_NORMS

DIMENSIONS = {"cnn3": 18 * 18 * 32, "vgg7": 256, "densenet-bc": 483, "resnet18": 512, "resnet20": 64}
# Networks that average over positions have the same layers for smaller images.
RESOLUTIONS = {"cnn3": 32, "vgg7": 32, "densenet-bc": 16, "resnet18": 16, "resnet20": 16}


def build(name: str, norm: str, channels: int = 3, seed: int = 0) -> Classifier:
    return build_classifier(name, norm, resolution=RESOLUTIONS[name], channels=channels, classes=10, seed=seed)


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def convolutions(network: nn.Module) -> list[nn.Module]:
    return [module for module in network.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]


def raw_weights(network: nn.Module) -> list[Tensor]:
    """Stored weights of all layers; for weight norm the direction, which is initialized to the weight."""
    found = []
    for layer in convolutions(network):
        if parametrize.is_parametrized(layer, "weight"):
            maps = layer.parametrizations["weight"]  # type: ignore[index]
            found.append(maps.original1 if hasattr(maps, "original1") else maps.original)
        else:
            found.append(layer.weight)
    return found


def densenet_parameters(
    channels: int, classes: int, growth: int, blocks: Sequence[int], compression: float, initial: int
) -> int:
    """Parameter count by Huang et al. 2017: BN (2 per channel), convolutions without bias, a linear layer."""
    total, width = 9 * channels * initial, initial
    for number, layers in enumerate(blocks):
        for _ in range(layers):
            narrow = 4 * growth
            total += 2 * width + width * narrow + 2 * narrow + 9 * narrow * growth
            width += growth
        if number < len(blocks) - 1:
            kept = int(compression * width)
            total += 2 * width + width * kept
            width = kept
    return total + 2 * width + width * classes + classes


@pytest.mark.parametrize("compression", [0.5, 0.8])
def test_densenet_has_the_parameters_of_its_definition(compression: float) -> None:
    stack = DenseNet(NORMS["bn"], 3, compression=compression)
    expected = densenet_parameters(3, 10, 12, (16, 16, 16), compression, 24)
    features = stack.eval()(torch.zeros(1, 3, 32, 32)).numel()
    assert count(stack) + features * 10 + 10 == expected
    if compression == 0.5:
        # Table 2 of the paper: 0.8 M for DenseNet-BC of depth 100, growth 12.
        assert expected == 769_162
    else:
        assert count(build("densenet-bc", "bn")) == expected and features == DIMENSIONS["densenet-bc"]


@pytest.mark.parametrize(
    "name, stages, blocks, expected",
    # 0.27 M in table 6 of the paper, for ResNet-20 with shortcuts without parameters (269,722).
    [("resnet18", (64, 128, 256, 512), 2, 11_173_962), ("resnet20", (16, 32, 64), 3, 269_722 + 2_560 + 2 * 96)],
)
def test_resnet_has_the_parameters_of_its_definition(
    name: str, stages: Sequence[int], blocks: int, expected: int
) -> None:
    width = stages[0]
    total = 3 * 9 * width + 2 * width
    for out in stages:
        for _ in range(blocks):
            total += 9 * width * out + 2 * out + 9 * out * out + 2 * out
            total += width * out + 2 * out if width != out else 0
            width = out
    assert count(build(name, "bn")) == total + width * 10 + 10 == expected


class Family(NamedTuple):
    """Build a classifier under every norm, with one seed."""

    name: str
    networks: dict[str, Classifier]


@pytest.fixture(scope="module", params=CLASSIFIERS)
def family(request: pytest.FixtureRequest) -> Family:
    return Family(request.param, {norm: build(request.param, norm) for norm in LAYER_NORMS})


def test_what_the_norms_add(family: Family) -> None:
    """MSN, `mean`, `none` and SN with a bias have equally many parameters, BN more; γ adds one per channel."""
    sizes = {norm: count(network) for norm, network in family.networks.items()}
    plain = family.networks["none"]
    hidden = sum(module.out_channels for module in plain.modules() if isinstance(module, nn.Conv2d))
    assert sizes["msn"] == sizes["sn"] == sizes["mean"] == sizes["none"]
    assert sizes["msn-affine"] == sizes["msn"] + hidden
    assert sizes["msn"] < sizes["bn"] == sizes["in"]
    if family.name == "densenet-bc":
        assert (sizes["msn"], sizes["bn"]) == (982_139, 1_009_730)  # as docs/recipes.md has it
    if family.name != "densenet-bc":
        assert sizes["bn"] == sizes["msn"] + hidden and sizes["ln"] == sizes["none"] + 2 * hidden


def test_one_seed_has_the_same_raw_weights_under_every_norm(family: Family) -> None:
    expected = raw_weights(family.networks["none"])
    assert len(expected) == {"cnn3": 4, "vgg7": 7, "densenet-bc": 100, "resnet18": 21, "resnet20": 22}[family.name]
    for norm, network in family.networks.items():
        for weight, other in zip(raw_weights(network), expected, strict=True):
            assert torch.equal(weight, other), norm
        biases = [layer.bias for layer in convolutions(network) if layer.bias is not None]
        assert not any(bias.any() for bias in biases)
    assert not torch.equal(raw_weights(build(family.name, "none", seed=1))[0], expected[0])


@pytest.mark.parametrize("norm", LAYER_NORMS)
def test_forward_backward_and_folding(family: Family, norm: str) -> None:
    name, network = family.name, family.networks[norm]
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(4, 3, RESOLUTIONS[name], RESOLUTIONS[name], generator=generator) * 2 - 1
    labels = torch.tensor([0, 1, 2, 3])
    loss = F.cross_entropy(network(images), labels)
    loss.backward()
    assert loss.isfinite()
    for which, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), which
    network.zero_grad()

    network.eval()
    with torch.no_grad():
        features, logits = network.features(images)
        assert features.shape == (4, DIMENSIONS[name]) and logits.shape == (4, 10)
        assert network.dimension == DIMENSIONS[name]
        if norm in ("ln", "in", "group"):
            kind = "InstanceNorm2d" if norm == "in" else "GroupNorm"
            with pytest.raises(ValueError, match=rf"cannot fold, .*: stack[^ ]* \({kind}\)"):
                fold(network)
            return
        folded = fold(network)
        scale = logits.abs().max().item()
        torch.testing.assert_close(folded(images), logits, rtol=1e-5, atol=1e-5 * scale)
    assert not list(spectral_norms(folded)) and not any(
        isinstance(m, (Normalized, Centering)) for m in folded.modules()
    )
    left = sum(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    # In DenseNet the norms of concatenations stay: before 48 layers, 2 transitions and the pool.
    assert left == (51 if (name, norm) == ("densenet-bc", "bn") else 0)


@pytest.mark.parametrize("norm", ["none", "sn", "wn", "mean", "msn"])
def test_activating_once_is_activating_for_each_reader(norm: str) -> None:
    """If norms follow convolutions, one ReLU per map before the concatenation equals one in each reading layer."""
    network = DenseNet(NORMS[norm], 3, growth=4, blocks=(3, 2), initial=6).double()
    images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0)).double()

    def pre_activation() -> Tensor:
        maps = network.stem(images)
        for stage in network.stages:
            if hasattr(stage, "layers"):
                for layer in stage.layers:
                    maps = torch.cat([maps, layer.wide(F.relu(layer.narrow(F.relu(maps))))], 1)
            else:
                maps = F.avg_pool2d(stage.narrow(F.relu(maps)), 2)  # and the pool after the convolution
        return F.relu(maps).mean((2, 3), keepdim=True)

    gradients = []
    for output in (network(images), pre_activation()):
        network.zero_grad()
        output.square().sum().backward()
        gradients.append([parameter.grad for parameter in network.parameters()])
    torch.testing.assert_close(network(images), pre_activation(), rtol=1e-10, atol=1e-12)
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10)


def test_batch_norm_stands_before_the_relu_of_the_concatenation() -> None:
    network = DenseNet(NORMS["bn"], 3, growth=4, blocks=(2, 1), initial=6)
    layer = network.stages[0].layers[1]
    maps = torch.randn(8, 10, 4, 4)
    reference = nn.BatchNorm2d(10)
    narrow = nn.BatchNorm2d(16)
    h = F.conv2d(F.relu(reference(maps)), layer.narrow.layer.weight)
    expected = F.conv2d(F.relu(narrow(h)), layer.wide.weight, padding=1)
    torch.testing.assert_close(layer(maps), expected, rtol=1e-5, atol=1e-5)
    assert all(conv.bias is None for conv in network.modules() if isinstance(conv, nn.Conv2d))


def test_resnet_block_against_its_definition() -> None:
    block = build("resnet18", "bn").get_submodule("stack.blocks.2")
    x = torch.randn(4, 64, 8, 8)
    norms = [nn.BatchNorm2d(128) for _ in range(3)]
    h = F.relu(norms[0](F.conv2d(x, block.conv1.layer.weight, stride=2, padding=1)))
    h = norms[1](F.conv2d(h, block.conv2.layer.weight, padding=1))
    expected = F.relu(h + norms[2](F.conv2d(x, block.shortcut.layer.weight, stride=2)))
    torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-5)
