"""GAN networks: published sizes, all resolutions, conditioning, and the effect of the normalization."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from gan.config.choices import NETWORKS, RESOLUTIONS
from gan.config.presets import PRESETS, preset_config
from gan.config.train_config import TrainConfig
from gan.dynamics.layers import raw_weight
from gan.errors import UsageError
from gan.models import build_discriminator, build_generator
from gan.models.r3gan import WIDTHS
from gan.norm import NORMS, Centering, compose, fold, sigmas


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def conv(inputs: int, outputs: int, kernel: int) -> int:
    return inputs * outputs * kernel**2 + outputs


def test_parameters_of_msn_dcgan() -> None:
    """By hand from the layer table: 128-512-256-128-64-3, and 3-64-64-128-128-256-256-512-1."""
    generator = 128 * 512 * 16 + 512 * 256 * 16 + 256 * 128 * 16 + 128 * 64 * 16  # transposed, k4, no bias
    generator += 2 * (512 + 256 + 128 + 64) + conv(64, 3, 3)
    assert generator == 3_804_739
    discriminator = conv(3, 64, 3) + conv(64, 64, 4) + conv(64, 128, 3) + conv(128, 128, 4)
    discriminator += conv(128, 256, 3) + conv(256, 256, 4) + conv(256, 512, 3) + 8192 + 1
    assert discriminator == 2_935_873
    config = preset_config("msn-dcgan")
    assert count(build_generator(config)) == generator
    assert count(build_discriminator(config)) == discriminator
    channels = 64 + 64 + 128 + 128 + 256 + 256 + 512
    bn = build_discriminator(config.replace({"norm": "bn"}))
    assert count(bn) == discriminator + channels


def test_parameters_of_sngan_dcgan() -> None:
    config = preset_config("sngan-dcgan")
    generator = (
        128 * 8192 + 8192 + 512 * 256 * 16 + 256 * 128 * 16 + 128 * 64 * 16 + 2 * (256 + 128 + 64) + conv(64, 3, 3)
    )
    assert count(build_generator(config)) == generator
    assert count(build_discriminator(config)) == 2_935_873


def test_parameters_of_sngan_resnet() -> None:
    """By hand from the layer table: three 256-channel up-blocks; 128 channels, optimized, down, two plain blocks."""
    block = 2 * (2 * 256) + 2 * conv(256, 256, 3) + conv(256, 256, 1)
    generator = 128 * 4096 + 4096 + 3 * block + 2 * 256 + conv(256, 3, 3)
    assert generator == 4_276_739
    optimized = conv(3, 128, 3) + conv(128, 128, 3) + conv(3, 128, 1)
    plain = 2 * conv(128, 128, 3)
    discriminator = optimized + (plain + conv(128, 128, 1)) + 2 * plain + 128 + 1
    assert discriminator == 1_053_825
    config = preset_config("sngan-resnet")
    assert count(build_generator(config)) == generator
    assert count(build_discriminator(config)) == discriminator


# Miyato et al. 2018, tables 5 and 6: size of the generator's first map and its channels per block; channels of the
# discriminator's blocks, the last of which does not halve the map. The 64-pixel network is not in the paper: there
# every block halves the map. The channels at 256 pixels are BigGAN's.
_DEEP_RESNETS = {
    "sngan-resnet-stl10": (6, (512, 256, 128, 64), (64, 128, 256, 512, 1024)),
    "resnet-64": (4, (1024, 512, 256, 128, 64), (64, 128, 256, 512, 1024)),
    "resnet-128": (4, (1024, 1024, 512, 256, 128, 64), (64, 128, 256, 512, 1024, 1024)),
    "resnet-256": (4, (1024, 1024, 512, 512, 256, 128, 64), (64, 128, 256, 512, 512, 1024, 1024)),
}


@pytest.mark.parametrize("name", _DEEP_RESNETS)
def test_parameters_of_deep_resnets(name: str) -> None:
    """By hand from the tables: batch norms have a scale and a shift, all convolutions and linear layers a bias."""
    bottom, up, down = _DEEP_RESNETS[name]
    generator = (128 + 1) * up[0] * bottom**2 + 2 * up[-1] + conv(up[-1], 3, 3)
    for inputs, outputs in itertools.pairwise(up):
        generator += 2 * inputs + conv(inputs, outputs, 3) + 2 * outputs + conv(outputs, outputs, 3)
        generator += conv(inputs, outputs, 1)
    discriminator = down[-1] + 1
    for number, (inputs, outputs) in enumerate(itertools.pairwise((3, *down)), 1):
        between = outputs if inputs == 3 else inputs  # dis_models/resblocks.py of the authors
        discriminator += conv(inputs, between, 3) + conv(between, outputs, 3)
        # The shortcut of the last block from 128 pixels on changes neither size nor channels: it has no parameters.
        halves = number < len(down)
        discriminator += conv(inputs, outputs, 1) if halves or inputs != outputs else 0
    config = preset_config(name).replace({"norm": "none"})  # SN has no parameters of its own, nor a meta device
    with torch.device("meta"):
        assert count(build_generator(config)) == generator
        assert count(build_discriminator(config)) == discriminator


def narrow(network: str, resolution: int = 32, width: int = 4) -> dict[str, int]:
    """The widths of small networks; r3gan's must be divisible by the groups of its stages."""
    if network == "r3gan":
        width = 8 * 8 // min(WIDTHS[resolution])
    return {"g_width": width, "d_width": width}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("network", "resolution"), [(network, size) for network, sizes in RESOLUTIONS.items() for size in sizes]
)
def test_every_resolution(network: str, resolution: int, channels: int) -> None:
    config = TrainConfig().replace(
        {"network": network, "resolution": resolution, "channels": channels, **narrow(network, resolution, 2)}
    )
    generator, discriminator = build_generator(config), build_discriminator(config)
    images = generator(torch.randn(2, 128))
    assert images.shape == (2, channels, resolution, resolution)
    assert images.abs().max() <= (1 if network != "r3gan" else 9)  # which has no tanh
    assert discriminator(images).shape == (2,)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("network", NETWORKS.names)
def test_raw_weights_and_generator_do_not_depend_on_the_norm(network: str, norm: str) -> None:
    settings = {"network": network, **narrow(network, width=2)}
    with_norm, plain = (
        build_discriminator(TrainConfig().replace({**settings, "norm": name})) for name in (norm, "none")
    )
    weights = [layer.weight for layer in plain.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    others = [layer for layer in with_norm.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    assert len(weights) == len(others)
    for weight, layer in zip(weights, others, strict=True):
        if not weight.any():
            continue  # zeros, as in r3gan, which no weight map can have
        torch.testing.assert_close(raw_weight(layer), weight, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("network", NETWORKS.names)
def test_conditional_networks_use_the_label(network: str) -> None:
    config = TrainConfig().replace({"network": network, **narrow(network)})
    generator, discriminator = build_generator(config, classes=5), build_discriminator(config, classes=5)
    for module in generator.modules():
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight)
    z = torch.randn(1, 128).expand(4, -1)
    images = generator(z, torch.tensor([0, 0, 1, 2]))
    torch.testing.assert_close(images[0], images[1])
    assert (images[0] - images[2]).abs().max() > 1e-3
    x = torch.rand(1, 3, 32, 32).expand(3, -1, -1, -1)
    discriminator.eval()
    logits = discriminator(x, torch.tensor([3, 3, 4]))
    torch.testing.assert_close(logits[0], logits[1])
    assert (logits[0] - logits[2]).abs() > 1e-5
    embeddings = [m for m in discriminator.modules() if isinstance(m, nn.Embedding)]
    assert len(embeddings) == 1 and sigmas(embeddings[0])  # the embedding has SN too


def test_projection_is_an_inner_product() -> None:
    config = TrainConfig().replace({"norm": "none", "d_width": 2})
    discriminator = build_discriminator(config, classes=3)
    features = torch.randn(4, discriminator.head.linear.in_features)
    labels = torch.tensor([0, 2, 1, 2])
    expected = discriminator.head.linear(features)[:, 0] + torch.einsum(
        "nf,nf->n", discriminator.head.embedding.weight[labels], features
    )
    torch.testing.assert_close(discriminator.head(features, labels), expected)


def test_norm_layers_centre_only_there() -> None:
    config = preset_config("msn-dcgan").replace({"norm_layers": [4, 6, 7], "d_width": 2})
    discriminator = build_discriminator(config)
    centred = [index for index, layer in enumerate(discriminator.layers, 1) if hasattr(layer, "norm")]
    assert centred == [4, 6, 7]
    assert all(isinstance(discriminator.layers[index - 1].norm, Centering) for index in centred)
    assert len(sigmas(discriminator)) == 8  # SN stays everywhere
    everywhere = build_discriminator(config.replace({"norm_layers": None}))
    assert all(isinstance(layer.norm, Centering) for layer in everywhere.layers)
    with pytest.raises(UsageError, match="--norm-layers 9: this discriminator has 7"):
        build_discriminator(config.replace({"norm_layers": [4, 9]}))


@pytest.mark.parametrize("network", NETWORKS.names)
@pytest.mark.parametrize("norm", ["none", "bn", "wn", "mean", "sn", "msn", "msn-affine"])
def test_whole_networks_fold(network: str, norm: str) -> None:
    config = TrainConfig().replace({"network": network, "norm": norm, **narrow(network)})
    for original, x in (
        (build_discriminator(config), torch.rand(4, 3, 32, 32)),
        (build_generator(config), torch.randn(4, 128)),
    ):
        original.double()
        x = x.double()
        for _ in range(3):
            original(x)
        folded = fold(original)
        torch.testing.assert_close(folded(x), original.eval()(x), rtol=0, atol=1e-10)
        assert not any(isinstance(module, Centering) for module in folded.modules())


def test_resnet_shortcut_order_does_not_matter() -> None:
    """Pooling or upsampling before a 1×1 convolution equals doing so after it."""
    layer, x = nn.Conv2d(3, 5, 1).double(), torch.randn(2, 3, 8, 8, dtype=torch.float64)
    pool, up = nn.AvgPool2d(2), nn.Upsample(scale_factor=2)
    torch.testing.assert_close(layer(pool(x)), pool(layer(x)), rtol=0, atol=1e-12)
    torch.testing.assert_close(layer(up(x)), up(layer(x)), rtol=0, atol=1e-12)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("norm", [name for name, norm in NORMS.items() if norm.pools])
def test_norms_that_pool_may_be_pooled_before(norm: str, training: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Merged blocks have the outputs and gradients of convolution, norm and pooling in the order of the paper."""
    config = TrainConfig().replace({"network": "resnet", "norm": norm, "d_width": 4})
    x = torch.rand(4, 3, 32, 32, dtype=torch.float64)
    found = []
    for pools in (True, False):
        monkeypatch.setattr(
            "gan.models.norms.compose", lambda *parts, pools=pools: compose(*parts)._replace(pools=pools)
        )
        network = build_discriminator(config).double()
        assert network.blocks[0].merged is pools
        network(x)  # so that there are running means
        network.train(training)
        logits = network(x)
        found.append([logits, *torch.autograd.grad(logits.square().sum(), list(network.parameters()))])
    for merged, plain in zip(*found, strict=True):
        torch.testing.assert_close(merged, plain, rtol=1e-9, atol=1e-10)


def test_initial_weights() -> None:
    dcgan = build_generator(preset_config("msn-dcgan"))
    weight = dcgan.stages[1].layer.weight
    assert weight.std().item() == pytest.approx(0.02, rel=0.01)
    scales = torch.cat([m.weight for m in dcgan.modules() if isinstance(m, nn.BatchNorm2d)])
    assert scales.mean().item() == pytest.approx(1, abs=0.005) and scales.std().item() == pytest.approx(0.02, rel=0.1)
    linear = build_generator(preset_config("sngan-dcgan")).linear
    assert linear.weight.std().item() == pytest.approx(0.02, rel=0.01)
    block = build_generator(preset_config("sngan-resnet")).blocks[0]
    glorot = (6 / (2 * 256 * 9)) ** 0.5
    assert block.conv2.weight.abs().max().item() == pytest.approx(2**0.5 * glorot, rel=1e-3)
    assert block.shortcut.weight.abs().max().item() == pytest.approx((6 / 512) ** 0.5, rel=1e-3)


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("name", PRESETS)
def test_all_biases_start_at_0(name: str, classes: int) -> None:
    """m of MSN and the shifts of batch norms, conditional ones too, among them."""
    config = preset_config(name)
    config = config.replace(narrow(config.network, config.resolution, 2))
    for network in (build_generator(config, classes), build_discriminator(config, classes)):
        biases = [(key, value) for key, value in network.named_parameters() if key.endswith((".bias", "shift.weight"))]
        assert len(biases) > 3 and [key for key, value in biases if value.any()] == []
