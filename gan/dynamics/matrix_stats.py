"""Numbers of one weight or gradient: sparsity, singular values, stable rank, and a convolution's operator norm."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_input
from torch.nn.modules.conv import _ConvTransposeNd

SMALL = 1e-3  # of a layer's largest entry
_ITERATIONS = 50  # of the operator norm's power iteration
_SEED = 0  # of the vector that it starts from


def matrix(weight: Tensor, layer: nn.Module) -> Tensor:
    """A weight, or its gradient, flattened: (C_out, the rest); a transposed convolution's is turned first."""
    turned = weight.transpose(0, 1) if isinstance(layer, _ConvTransposeNd) else weight
    return turned.flatten(1)


def sparsity(gradient: Tensor) -> tuple[float, float]:
    """The share of entries that are exactly zero, and of those of at most `SMALL` times the largest, both in [0, 1].

    NaN where an entry is not finite: beside it none would count as small.
    """
    sizes = gradient.detach().abs()
    if not sizes.isfinite().all():
        return float("nan"), float("nan")
    return (sizes == 0).float().mean().item(), (sizes <= SMALL * sizes.max()).float().mean().item()


@torch.no_grad()
def singular_values(matrix: Tensor) -> Tensor:
    """All singular values of a matrix (M, N), largest first, float64 (min(M, N),) on the CPU; NaN if it is not finite.

    They are the roots of the eigenvalues of the smaller Gram matrix, made in float64: many times faster than an SVD,
    exact to rounding for the largest, and to 1e-8 of the largest for the smallest.
    """
    if not matrix.isfinite().all():
        return torch.full((min(matrix.shape),), float("nan"), dtype=torch.float64)
    if matrix.device.type == "mps":  # it has no float64
        matrix = matrix.cpu()
    wide = matrix.double() if matrix.shape[0] <= matrix.shape[1] else matrix.double().T
    return torch.linalg.eigvalsh(wide @ wide.T).clamp(min=0).sqrt().flip(0).cpu()


def stable_rank(values: Tensor) -> float:
    """‖W‖_F² / σ² of a matrix with these singular values, largest first: between 1 and its rank; NaN for a zero one."""
    return (values.square().sum() / values[0].square()).item()


def has_operator(layer: nn.Module) -> bool:
    """Whether `operator_norm` knows how to apply a layer."""
    return isinstance(layer, nn.Conv2d) and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)


@torch.no_grad()
def operator_norm(layer: nn.Module, shape: tuple[int, int, int], iterations: int = _ITERATIONS) -> float:
    """The largest singular value of a convolution as a linear map of whole inputs, without its bias.

    Power iteration with the convolution and its transpose, from a seeded start: it never overestimates, and comes
    closer with each iteration. A convolution that is merged with a mean or an upsampling (`gan.nn.convolutions`) is
    taken without it: what spectral normalization speaks of is the convolution alone.

    Args:
        layer: one that `has_operator`.
        shape: (C_in, H, W) of its inputs.
    """
    assert isinstance(layer, nn.Conv2d) and not isinstance(layer.padding, str)
    weight = layer.weight.detach()
    how = (layer.stride, layer.padding, layer.dilation, layer.groups)
    x = torch.randn(1, *shape, generator=torch.Generator().manual_seed(_SEED)).to(weight)
    for _ in range(iterations):
        y = F.conv2d(x / x.norm(), weight, None, *how)
        x = conv2d_input((1, *shape), weight, y, *how)
        if not 0 < x.norm() < float("inf"):
            return x.norm().item()  # a zero weight, or one that is not finite
    return F.conv2d(x / x.norm(), weight, None, *how).norm().item()
