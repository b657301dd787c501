"""Transposed convolutions as convolutions: the same function, exactly, with as many weights."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from gan.config.presets import PRESETS
from gan.export.convolutions import with_merged_kernels, without_transposed
from gan.export.folding import fold_to_plain_layers
from gan.models import build_generator
from gan.nn.convolutions import PooledConv2d, UpsampledConv2d
from gan.nn.resampling import Upsample2d


def transposed(network: nn.Module) -> list[nn.Module]:
    return [module for module in network.modules() if isinstance(module, nn.ConvTranspose2d)]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "shape, size",
    [((4, 2, 1), (6, 7)), ((4, 2, 1), (1, 1)), ((3, 1, 1), (6, 7)), ((4, 1, 0), (1, 1)), ((3, 2, 0), (1, 1))],
)
def test_shapes_of_the_generators(shape: tuple[int, int, int], size: tuple[int, int], bias: bool) -> None:
    kernel, stride, padding = shape
    network = nn.Sequential(nn.ConvTranspose2d(3, 5, kernel, stride, padding, bias=bias)).double()
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    changed = without_transposed(network, (x,))
    assert not transposed(changed) and len(transposed(network)) == 1
    torch.testing.assert_close(changed(x), network(x), rtol=0, atol=1e-13)
    weights = sum(value.numel() for name, value in changed.named_parameters() if name.endswith("weight"))
    assert weights == network[0].weight.numel()


@pytest.mark.parametrize(
    "layer",
    [
        nn.ConvTranspose2d(4, 4, 4, 2, 1, groups=2),
        nn.ConvTranspose2d(4, 4, 5, 3, 1),
        nn.ConvTranspose2d(4, 4, 3, 2, 1, output_padding=1),
        nn.ConvTranspose2d(4, 4, 4, 1, 0),
    ],
)
def test_other_shapes_stay(layer: nn.Module) -> None:
    x = torch.randn(1, 4, 3, 3)
    changed = without_transposed(nn.Sequential(layer), (x,))
    torch.testing.assert_close(changed(x), layer(x), rtol=0, atol=0)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", [PooledConv2d, UpsampledConv2d])
def test_merged_layers_are_torchs_own(kind: type[nn.Module], bias: bool) -> None:
    layer, x = kind(3, 5, bias=bias).double(), torch.randn(2, 3, 6, 8, dtype=torch.float64)
    for network in (layer, nn.Sequential(layer)):
        changed = with_merged_kernels(network)
        found = changed[0] if isinstance(changed, nn.Sequential) else changed
        assert type(found) in (nn.Conv2d, nn.ConvTranspose2d) and found.kernel_size == (4, 4)
        torch.testing.assert_close(changed(x), network(x), rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", ["msn-dcgan", "sngan-dcgan", "sngan-resnet", "r3gan-narrow"])
def test_generators_have_none_left(lived: Callable[[nn.Module], nn.Module], name: str) -> None:
    config = PRESETS[name].replace({"g_width": 8, "latent_dim": 8, "conditional": True})
    network = fold_to_plain_layers(lived(build_generator(config, 3))).network.double()
    z, labels = torch.randn(3, 8, dtype=torch.float64), torch.tensor([2, 0, 1])
    changed = without_transposed(network, (z, labels))
    assert not transposed(changed)
    assert not any(isinstance(module, (UpsampledConv2d, Upsample2d)) for module in changed.modules())
    torch.testing.assert_close(changed(z, labels), network(z, labels), rtol=0, atol=1e-11)
