"""Orthogonal weights: the orthogonal factor of the raw weight's QR decomposition."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .precision import at_least_fp32, full_precision, result_dtype


class Orthogonal(nn.Module):
    """Parametrization of a layer's weight: the orthogonal factor of the raw weight W, flattened to (C_out, rest).

    If C_out < rest, Wᵀ = QR with a positive diagonal of R, and W̄ = Qᵀ has orthonormal rows. Else W = QR, and W̄ = Q has
    orthonormal columns. That factor is unique if W has full rank.

    The raw weight is the plain layer's weight, unchanged, and its scale has no effect: W̄ of c W is W̄ for c > 0. W̄ is
    initially the weight of `torch.nn.utils.parametrizations.orthogonal`, to rounding. Its own maps are not used: for a
    wide convolution, the Householder map takes over a hundred times as long to differentiate, and the matrix
    exponential and the Cayley map need square matrices of the larger size.

    Args:
        dim: the dimension of the output channels.
        autocast: return W̄ in the dtype of autocast, to which a convolution would cast it at each use.
    """

    def __init__(self, dim: int = 0, *, autocast: bool = False) -> None:
        super().__init__()
        self.dim = dim
        self.autocast = autocast

    def forward(self, weight: Tensor) -> Tensor:
        """Return W̄ in the weight's shape and dtype, or in the dtype of autocast (see `autocast`)."""
        dtype = result_dtype(weight, self.autocast)
        moved = weight.movedim(self.dim, 0)
        with full_precision(weight):
            matrix = at_least_fp32(moved).flatten(1)  # (C_out, rest)
            factor = _factor(matrix.T).T if matrix.shape[0] < matrix.shape[1] else _factor(matrix)
            return factor.to(dtype).reshape(moved.shape).movedim(0, self.dim)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """Return the raw weight to store when the layer's weight is assigned: the assigned value."""
        return weight


def _factor(matrix: Tensor) -> Tensor:
    """Q of a matrix (M, N), M ≥ N, with orthonormal columns, and a positive diagonal of R."""
    q, r = torch.linalg.qr(matrix)
    return q * torch.where(r.detach().diagonal() < 0, -1.0, 1.0).to(q)
