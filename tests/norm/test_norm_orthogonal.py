"""Orthogonal weights against WWᵀ = I and torch's own parametrization."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from gan.norm import orthogonal
from tests.helpers.norm_layers import LAYERS
from tests.helpers.weight_maps import flattened

MORE = {
    "more outputs": (lambda: nn.Conv2d(1, 12, 3), (2, 1, 5, 5)),
    "depthwise": (lambda: nn.Conv2d(12, 12, 3, groups=12), (2, 12, 5, 5)),
    "square": (lambda: nn.Linear(6, 6), (2, 6)),
    "one output": (lambda: nn.Linear(9, 1), (2, 9)),
    "embedding": (lambda: nn.Embedding(5, 3), (2,)),
}


@pytest.mark.parametrize("kind", [*LAYERS, *MORE])
@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-13), (torch.float32, 2e-6)])
def test_it_is_orthogonal_and_starts_as_torchs(kind: str, dtype: torch.dtype, tolerance: float) -> None:
    make, _ = (LAYERS | MORE)[kind]
    torch.manual_seed(0)
    raw = make().to(dtype)
    layer = orthogonal(copy.deepcopy(raw))
    dim = 1 if kind.startswith("transposed") else 0
    ours, matrix = flattened(layer.weight, dim), flattened(raw.weight, dim)
    rows, columns = ours.shape
    gram = ours @ ours.T if rows < columns else ours.T @ ours
    torch.testing.assert_close(gram, torch.eye(len(gram), dtype=dtype), rtol=0, atol=tolerance)
    linear = nn.Linear(columns, rows, bias=False, dtype=dtype)
    linear.weight.data.copy_(matrix)
    torch.testing.assert_close(ours, parametrizations.orthogonal(linear).weight.detach(), rtol=0, atol=10 * tolerance)
    # the factor of W = L W̄, or W̄ R, that is triangular with a positive diagonal
    triangle = (matrix @ ours.T).T if rows < columns else ours.T @ matrix
    assert (triangle.diagonal() > 0).all()
    torch.testing.assert_close(triangle, triangle.triu(), rtol=0, atol=10 * tolerance * matrix.norm().item())


def test_scale_has_no_effect_and_assignment_is_of_the_raw_weight() -> None:
    layer = orthogonal(nn.Linear(5, 3).double())
    before, raw = layer.weight.detach(), layer.parametrizations.weight.original.detach().clone()
    layer.weight = 3 * raw
    torch.testing.assert_close(layer.weight, before, rtol=0, atol=1e-12)
    torch.testing.assert_close(layer.parametrizations.weight.original, 3 * raw, rtol=0, atol=0)


def test_it_does_not_depend_on_how_weights_lie_in_memory() -> None:
    layer = orthogonal(nn.Conv2d(2, 24, 3).double())
    last = copy.deepcopy(layer).to(memory_format=torch.channels_last)
    torch.testing.assert_close(layer.weight, last.weight, rtol=0, atol=1e-12)
