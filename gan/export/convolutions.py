"""Rewrite convolutions into the operators that runtimes support.

A convolution merged with an upsampling or a mean (`gan.nn.convolutions`) computes its 4x4 kernel from its 3x3 weights
at each call. To save that work on a device, and to have a constant kernel, the 4x4 kernel is stored instead.

Transposed convolutions become convolutions with as many weights, because runtimes have integer kernels only for those.
In one dimension a transposed convolution of kernel w, stride 2 and padding 1 gives

    y[2q - 1] = w[2] x[q - 1] + w[0] x[q],      y[2q] = w[3] x[q - 1] + w[1] x[q]

so outputs of each parity are a convolution with two weights, and those with the same q are neighbours. In two
dimensions the four kinds of outputs are four groups of channels of one 2x2 convolution, which `pixel_shuffle`
interleaves; with q from 0 to H the outputs run from -1 to 2H, and the first and last are removed. R3GAN's filtered
upsampling is such a transposed convolution of each channel.
"""

import copy
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan.nn.convolutions import PooledConv2d, UpsampledConv2d
from gan.nn.resampling import UPSAMPLING_GAIN, Upsample2d, kernel

L = TypeVar("L", bound=nn.Module)


class ShuffledConv2d(nn.Module):
    """ConvTranspose2d with kernel 4, stride 2, padding 1 as Conv2d: (N, C_in, H, W) -> (N, C_out, 2H, 2W).

    The layer has one group, or is depthwise with as many outputs as inputs.
    """

    def __init__(self, layer: nn.ConvTranspose2d) -> None:
        super().__init__()
        # (C_in, C_out, 4, 4) -> four of (C_in, C_out, 2, 2) -> (C_out * 4, C_in, 2, 2), the order of pixel_shuffle;
        # depthwise (C, 1, 4, 4) -> (C * 4, 1, 2, 2)
        taps = ([2, 0], [3, 1])
        parts = [layer.weight[:, :, rows][..., columns] for rows in taps for columns in taps]
        stacked = torch.stack(parts, 2)
        weight = stacked.flatten(1, 2).transpose(0, 1) if layer.groups == 1 else stacked.flatten(0, 2).unsqueeze(1)
        bias = None if layer.bias is None else layer.bias.repeat_interleave(4)
        conv = nn.Conv2d(layer.in_channels, 4 * layer.out_channels, 2, padding=1, groups=layer.groups)
        self.conv = _with_weights(conv, weight, bias)

    def forward(self, x: Tensor) -> Tensor:
        # A copy, since a following in-place ReLU would otherwise be exported as a change of the uncropped map.
        return F.pixel_shuffle(self.conv(x), 2)[:, :, 1:-1, 1:-1].clone()


def _with_weights(layer: L, weight: Tensor, bias: Tensor | None) -> L:
    """Give a layer these weights."""
    layer.register_parameter("weight", nn.Parameter(weight.contiguous()))
    layer.register_parameter("bias", None if bias is None else nn.Parameter(bias))
    return layer


@torch.no_grad()
def with_merged_kernels(network: nn.Module) -> nn.Module:
    """Copy a folded network, with merged convolutions replaced by torch's own layers."""
    network = copy.deepcopy(network)
    for path, layer in list(network.named_modules()):
        if isinstance(layer, (PooledConv2d, UpsampledConv2d)):
            kind = nn.Conv2d if isinstance(layer, PooledConv2d) else nn.ConvTranspose2d
            plain = kind(layer.in_channels, layer.out_channels, 4, stride=2, padding=1)
            _with_weights(plain, layer.merged(layer.weight), layer.bias)
            if path:
                network.set_submodule(path, plain)
            else:
                network = plain
    return network.eval().requires_grad_(False)


@torch.no_grad()
def without_transposed(network: nn.Module, inputs: tuple[Tensor, ...]) -> nn.Module:
    """Copy a network, with transposed convolutions replaced by equivalent layers where their shape allows it.

    Args:
        inputs: example inputs, which show the layers whose input has a single position.
    """
    network = with_merged_kernels(network)
    examples: dict[nn.Module, Tensor] = {}

    def record(layer: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        examples[layer] = arguments[0]

    kinds = (nn.ConvTranspose2d, Upsample2d)
    layers = {path: layer for path, layer in network.named_modules() if isinstance(layer, kinds)}
    hooks = [layer.register_forward_pre_hook(record) for layer in layers.values()]
    network(*inputs)
    for hook in hooks:
        hook.remove()
    for path, layer in layers.items():
        replacement = _replacement(layer, examples[layer])
        if replacement is not None:
            network.set_submodule(path, replacement)
    return network.eval().requires_grad_(False)


def _replacement(layer: nn.ConvTranspose2d | Upsample2d, x: Tensor) -> nn.Module | None:
    """An equivalent layer of another kind for inputs like x, or None."""
    if isinstance(layer, Upsample2d):
        channels = x.shape[1]
        plain = nn.ConvTranspose2d(channels, channels, 4, stride=2, padding=1, groups=channels, bias=False)
        weight = kernel(UPSAMPLING_GAIN, x.dtype, x.device).expand(channels, 1, 4, 4)
        return ShuffledConv2d(_with_weights(plain, weight, None))
    shape = (layer.kernel_size, layer.stride, layer.padding)
    if layer.groups > 1 or set(layer.dilation) != {1} or any(layer.output_padding):
        return None
    if shape == ((4, 4), (2, 2), (1, 1)):
        return ShuffledConv2d(layer)
    if shape == ((3, 3), (1, 1), (1, 1)):
        conv = nn.Conv2d(layer.in_channels, layer.out_channels, 3, padding=1)
        return _with_weights(conv, layer.weight.transpose(0, 1).flip(2, 3), layer.bias)
    if x.shape[2:] == (1, 1) and set(layer.padding) == {0}:  # each output has one input: a linear layer
        outputs = layer.weight[0].numel()
        bias = None if layer.bias is None else layer.bias.repeat_interleave(outputs // layer.out_channels)
        linear = _with_weights(nn.Linear(layer.in_channels, outputs), layer.weight.flatten(1).T, bias)
        return nn.Sequential(nn.Flatten(), linear, nn.Unflatten(1, tuple(layer.weight.shape[1:])))
    return None
