"""Kinds of layers that can be normalized, and the dimensions of their weights and outputs."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.conv import _ConvNd

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
LAYERS = (nn.Linear, *CONVOLUTIONS, *TRANSPOSED)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
INSTANCE_NORMS = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)


def output_dim(layer: nn.Module) -> int:
    """Dimension of the output channels in a layer's weight."""
    return 1 if isinstance(layer, TRANSPOSED) else 0


def spatial_dims(layer: nn.Module) -> int:
    """Number of dimensions (1, 2 or 3) of the norm class for a layer; 1 for a linear layer."""
    return 1 if isinstance(layer, nn.Linear) else len(convolution(layer).kernel_size)


def output_channels(layer: nn.Module) -> int:
    """Number of output channels, or of output features of a linear layer."""
    return layer.out_features if isinstance(layer, nn.Linear) else convolution(layer).out_channels


def convolution(layer: nn.Module) -> _ConvNd:
    """The layer, as a convolution; a TypeError if it is none."""
    if not isinstance(layer, _ConvNd):
        raise TypeError(f"cannot normalize {type(layer).__name__}: not a convolution or linear layer")
    return layer
