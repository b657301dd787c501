"""Convolutions with custom gradients against torch's convolutions."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan.nn import convolutions
from gan.nn.convolutions import Conv2d, ConvTranspose2d, PooledConv2d, UpsampledConv2d

CASES = [
    (Conv2d(6, 8, 3, padding=1), (4, 4)),  # a small map: by a matrix product
    (Conv2d(6, 8, 4, stride=2, padding=1, bias=False), (8, 8)),
    (Conv2d(6, 8, (3, 2), stride=(2, 1), padding=(1, 0)), (7, 4)),  # a last row that the stride passes over
    (Conv2d(6, 8, 3, padding=1), (16, 16)),  # a large one: by torch
    (ConvTranspose2d(6, 8, 4, bias=False), (1, 1)),
    (ConvTranspose2d(6, 8, 3), (1, 1)),
    (ConvTranspose2d(6, 8, 4, stride=2, padding=1, bias=False), (4, 4)),
    (ConvTranspose2d(6, 3, 3, padding=1), (12, 12)),
]
MERGED = [(PooledConv2d(6, 8), (8, 8)), (UpsampledConv2d(6, 8), (4, 4))]


def gradients(layer: nn.Module, x: Tensor, outer: Tensor | None = None) -> tuple[Tensor, list[Tensor]]:
    y = layer(x)
    outer = torch.ones_like(y) if outer is None else outer.to(y.dtype)
    return y, list(torch.autograd.grad(y, [x, *layer.parameters()], outer, create_graph=True))


@pytest.mark.parametrize("layer, size", CASES, ids=str)
@pytest.mark.parametrize("dtype, tolerance", [(torch.bfloat16, 2e-2), (torch.float32, 1e-5)], ids=["bf16", "fp32"])
def test_it_is_torch_within_rounding(
    layer: nn.Module, size: tuple[int, int], dtype: torch.dtype, tolerance: float
) -> None:
    generator = torch.Generator().manual_seed(0)
    plain = (nn.Conv2d if isinstance(layer, Conv2d) else nn.ConvTranspose2d).forward
    x = torch.randn(5, 6, *size, generator=generator, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        ours = layer(x)
        assert type(ours.grad_fn).__name__ != "ConvolutionBackward0"  # or nothing here is tested
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(convolutions, "_has_faster_gradients", lambda layer, x: False)
            theirs = plain(layer, x)
    assert ours.dtype == theirs.dtype == dtype
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)
    outer = torch.randn(ours.shape, generator=generator)
    pair = (torch.autograd.grad(y, [x, *layer.parameters()], outer) for y in (ours, theirs))
    for mine, other in zip(*pair, strict=True):
        torch.testing.assert_close(mine, other, rtol=tolerance, atol=tolerance * other.abs().max().item())


@pytest.mark.parametrize("layer, size", CASES, ids=str)
def test_gradients_are_exact(layer: nn.Module, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """In float64, without rounding to bf16: first and second gradients to 1e-12."""
    layer = copy.deepcopy(layer).double()
    x = torch.randn(3, 6, *size, dtype=torch.float64, requires_grad=True)
    found = {}
    for name in ("ours", "torch"):
        monkeypatch.setattr(convolutions, "_has_faster_gradients", lambda layer, x, name=name: name == "ours")
        monkeypatch.setattr(convolutions, "_autocast", lambda x, weight, bias: (x, weight, bias))
        y, first = gradients(layer, x)
        outer = torch.sin(y.detach())
        y, first = gradients(layer, x, outer)
        second = torch.autograd.grad(first[1].square().sum(), x)
        found[name] = [y, *first, *second]
    for mine, other in zip(found["ours"], found["torch"], strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-12, atol=1e-11)


def third_gradients(layer: nn.Module, x: Tensor) -> list[Tensor]:
    """Gradients of ‖∇ₓ ‖∇ₓ s‖²‖², s a smooth function of the layer's output, as R1 on a normalized gradient needs."""
    (first,) = torch.autograd.grad(layer(x).tanh().sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), x, create_graph=True)
    return list(torch.autograd.grad(second.square().sum(), [x, *layer.parameters()]))


@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize(
    "layer, size", [*CASES, (PooledConv2d(6, 8), (8, 8)), (UpsampledConv2d(6, 8), (4, 4))], ids=str
)
@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-12), (torch.float32, 3e-6)], ids=["fp64", "fp32"])
def test_third_derivatives_are_exact(
    layer: nn.Module,
    size: tuple[int, int],
    dtype: torch.dtype,
    tolerance: float,
    separate: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layer = copy.deepcopy(layer).to(dtype)
    x = torch.randn(3, 6, *size, dtype=dtype, requires_grad=True, generator=torch.Generator().manual_seed(0))
    found = {}
    for name in ("ours", "torch"):
        monkeypatch.setattr(convolutions, "_has_faster_gradients", lambda layer, x, name=name: name == "ours")
        monkeypatch.setattr(convolutions, "_autocast", lambda x, weight, bias: (x, weight, bias))
        with convolutions.separate_input_gradients(separate):
            found[name] = third_gradients(layer, x)
    for mine, other in zip(found["ours"], found["torch"], strict=True):
        torch.testing.assert_close(mine, other, rtol=tolerance, atol=tolerance * other.abs().max().item())


@pytest.mark.parametrize("layer, size", [*CASES[:4], *CASES[6:], *MERGED], ids=str)
def test_gradients_that_are_not_asked_for_are_not_computed(
    layer: nn.Module, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for a penalty: the gradient of the images alone, and then its own gradients."""
    computed: list[str] = []
    torch_gradients, weight_gradient = convolutions._torch_gradients, convolutions._weight_gradient

    def counted(*arguments: Any) -> Any:
        computed.append("x" if arguments[-1][0] else "weight")
        return torch_gradients(*arguments)

    def unfolded(*arguments: Any) -> Any:
        computed.append("weight")
        return weight_gradient(*arguments)

    monkeypatch.setattr(convolutions, "_torch_gradients", counted)
    monkeypatch.setattr(convolutions, "_weight_gradient", unfolded)
    x = torch.randn(2, 6, *size, requires_grad=True)
    with convolutions.separate_input_gradients():
        output = layer(x)
    (slope,) = torch.autograd.grad(output.sin().sum(), x, create_graph=True)
    assert computed == ["x"]
    (loss := slope.square().sum()).backward()
    assert computed.count("weight") >= 1 and loss.isfinite()
    computed.clear()
    layer(x.detach()).sum().backward()
    assert computed == ["weight"]
    computed.clear()
    frozen = copy.deepcopy(layer).requires_grad_(False)
    frozen(x).sum().backward()
    assert computed == ["x"]
    layer.zero_grad()


def test_what_it_is_not_made_for_is_left_to_torch() -> None:
    x = torch.randn(2, 4, 4, 4)
    for layer in (Conv2d(4, 4, 3).double(), Conv2d(4, 4, 3, groups=2), Conv2d(4, 4, 3, padding="same")):
        x = x.to(layer.weight.dtype)
        expected = nn.Conv2d.forward(layer, x)
        torch.testing.assert_close(layer(x), expected, rtol=0, atol=0)
        assert type(layer(x).grad_fn).__name__ == "ConvolutionBackward0"
    x = x.float()
    frozen = ConvTranspose2d(4, 4, 3).requires_grad_(
        False
    )  # as an exporter traces it, in whose graph nothing is to stay
    assert not convolutions._has_faster_gradients(frozen, x) and convolutions._has_faster_gradients(
        frozen, x.clone().requires_grad_()
    )
    with torch.autocast("cpu", torch.bfloat16):
        assert type(Conv2d(4, 4, 3, groups=2)(x).grad_fn).__name__ == "ConvolutionBackward0"
        with torch.no_grad():
            assert Conv2d(4, 4, 3)(x).dtype == torch.bfloat16


@pytest.mark.parametrize("merged", [UpsampledConv2d, PooledConv2d])
@pytest.mark.parametrize("training", [True, False])
def test_merged_layers_are_the_two_written_out(merged: type[Conv2d], training: bool) -> None:
    layer = merged(5, 7).double()
    x = torch.randn(2, 5, 6, 8, dtype=torch.float64, requires_grad=True)
    ours = layer(x)
    if merged is UpsampledConv2d:
        theirs = F.conv2d(F.interpolate(x, scale_factor=2), layer.weight, layer.bias, padding=1)
    else:
        theirs = F.avg_pool2d(F.conv2d(x, layer.weight, layer.bias, padding=1), 2)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    outer = torch.randn_like(theirs)
    for mine, other in zip(
        *(torch.autograd.grad(y, [x, *layer.parameters()], outer) for y in (ours, theirs)), strict=True
    ):
        torch.testing.assert_close(mine, other, rtol=1e-11, atol=1e-12)
    with torch.autocast("cpu", torch.bfloat16), torch.set_grad_enabled(training):
        rounded = layer.float()(x.float())
    assert rounded.dtype == torch.bfloat16
    torch.testing.assert_close(rounded.double(), theirs, rtol=3e-2, atol=3e-2)
