"""Statistics of one weight or gradient: sparsity, singular values, stable rank, operator norm."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_input
from torch.nn.modules.conv import _ConvTransposeNd

SMALL = 1e-3  # relative to a layer's largest entry
_ITERATIONS = 50  # of power iteration for the operator norm
_SEED = 0  # of its initial vector


def matrix(weight: Tensor, layer: nn.Module) -> Tensor:
    """Flatten a weight or its gradient to (C_out, rest); that of a transposed convolution is transposed first."""
    return (weight.transpose(0, 1) if isinstance(layer, _ConvTransposeNd) else weight).flatten(1)


def sparsity(gradient: Tensor) -> tuple[float, float]:
    """Return the share of entries that are exactly zero, and of those at most `SMALL` times the largest, in [0, 1].

    Both are NaN if an entry is not finite, because the comparison with the largest would be meaningless.
    """
    sizes = gradient.detach().abs()
    if not sizes.isfinite().all():
        return float("nan"), float("nan")
    return (sizes == 0).float().mean().item(), (sizes <= SMALL * sizes.max()).float().mean().item()


@torch.no_grad()
def singular_values(matrix: Tensor) -> Tensor:
    """Return all singular values of a matrix (M, N), largest first, float64 (min(M, N),) on the CPU.

    They are the square roots of the eigenvalues of the smaller Gram matrix in float64: many times faster than an SVD,
    exact to rounding for the largest, and to 1e-8 of the largest for the smallest. NaN if the matrix is not finite.
    """
    if not matrix.isfinite().all():
        return torch.full((min(matrix.shape),), float("nan"), dtype=torch.float64)
    if matrix.device.type == "mps":  # it has no float64
        matrix = matrix.cpu()
    wide = matrix.double() if matrix.shape[0] <= matrix.shape[1] else matrix.double().T
    return torch.linalg.eigvalsh(wide @ wide.T).clamp(min=0).sqrt().flip(0).cpu()


def stable_rank(values: Tensor) -> float:
    """Return ‖W‖_F² / σ², between 1 and the rank, from singular values, largest first; NaN for a zero matrix."""
    return (values.square().sum() / values[0].square()).item()


def has_operator(layer: nn.Module) -> bool:
    """True if `operator_norm` supports a layer."""
    return isinstance(layer, nn.Conv2d) and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)


@torch.no_grad()
def operator_norm(layer: nn.Module, shape: tuple[int, int, int], iterations: int = _ITERATIONS) -> float:
    """Return the largest singular value of a convolution as a linear map of whole inputs, without its bias.

    Power iteration with the convolution and its transpose, from a seeded vector: a lower bound that improves with each
    iteration. For a convolution merged with a mean or an upsampling (`gan.nn.convolutions`), it is that of the
    convolution alone, which is what spectral normalization bounds.

    Args:
        layer: a layer for which `has_operator` is true.
        shape: (C_in, H, W) of its inputs.
    """
    assert isinstance(layer, nn.Conv2d) and not isinstance(layer.padding, str)
    weight = layer.weight.detach()
    options = (layer.stride, layer.padding, layer.dilation, layer.groups)
    x = torch.randn(1, *shape, generator=torch.Generator().manual_seed(_SEED)).to(weight)
    for _ in range(iterations):
        y = F.conv2d(x / x.norm(), weight, None, *options)
        x = conv2d_input((1, *shape), weight, y, *options)
        if not 0 < x.norm() < float("inf"):
            return x.norm().item()  # zero or not finite
    return F.conv2d(x / x.norm(), weight, None, *options).norm().item()
