"""Singular values, sparsity and operator norms against torch.linalg.svd, formulas and explicitly built matrices."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from gan.dynamics.matrix_stats import has_operator, matrix, operator_norm, singular_values, sparsity, stable_rank
from gan.nn.convolutions import PooledConv2d
from gan.norm import NORMS


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("shape", [(7, 40), (40, 7), (9, 9), (1, 5)])
def test_singular_values_are_those_of_an_svd(shape: tuple[int, int]) -> None:
    found = singular_values(random(*shape))
    expected = torch.linalg.svdvals(random(*shape))
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-8)
    assert found[0].item() == pytest.approx(expected[0].item(), rel=1e-12)
    assert stable_rank(found) == pytest.approx((expected.square().sum() / expected[0] ** 2).item(), rel=1e-10)


def test_a_matrix_of_low_rank_has_no_more_than_rounding_beyond_it() -> None:
    found = singular_values((random(30, 2) @ random(2, 50)).float())
    assert found[2] < 1e-6 * found[0] and 1 <= stable_rank(found) <= 2


def test_what_is_not_finite_is_nan() -> None:
    broken = random(3, 4)
    broken[1, 2] = float("inf")
    assert singular_values(broken).isnan().all() and math.isnan(stable_rank(singular_values(torch.zeros(2, 3))))


def test_sparsity_counts_zeros_and_what_is_small_beside_the_largest() -> None:
    gradient = torch.tensor([[0.0, 2.0, -4.0, 3.9e-3], [4.1e-3, 0.0, -1e-9, 1.0]])
    assert sparsity(gradient) == (2 / 8, 4 / 8)
    assert sparsity(1e-20 * gradient) == (2 / 8, 4 / 8)  # it does not depend on the scale
    assert sparsity(torch.zeros(3)) == (1.0, 1.0)
    for broken in ("nan", "inf"):
        assert all(math.isnan(share) for share in sparsity(torch.tensor([1.0, float(broken), 0.0])))


def test_a_transposed_convolution_is_turned() -> None:
    layer = nn.ConvTranspose2d(3, 5, 2)
    assert matrix(layer.weight, layer).shape == (5, 3 * 4)
    assert torch.equal(matrix(layer.weight, layer)[1], layer.weight[:, 1].flatten())
    conv = nn.Conv2d(3, 5, 2)
    assert torch.equal(matrix(conv.weight, conv), conv.weight.flatten(1))


def explicit(layer: nn.Conv2d, shape: tuple[int, int, int]) -> torch.Tensor:
    """The matrix of a convolution without its bias: a column for each element of the input."""
    size = math.prod(shape)
    with torch.no_grad():
        ones = torch.eye(size, dtype=layer.weight.dtype).view(size, *shape)
        outputs = nn.functional.conv2d(
            ones, layer.weight, None, layer.stride, layer.padding, layer.dilation, layer.groups
        )
    return outputs.flatten(1).T


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(3, 4, 3, padding=1),
        nn.Conv2d(3, 5, 4, stride=2, padding=1),
        nn.Conv2d(4, 2, 5, padding=2, dilation=2, groups=2, bias=False),
        nn.Conv2d(3, 6, 1),
    ],
    ids=str,
)
def test_the_operator_norm_is_that_of_the_explicit_matrix(layer: nn.Conv2d) -> None:
    layer = layer.double()
    layer.weight.data = random(*layer.weight.shape)
    shape = (layer.in_channels, 6, 7)
    largest = torch.linalg.svdvals(explicit(layer, shape))[0].item()
    assert operator_norm(layer, shape, iterations=3000) == pytest.approx(largest, rel=1e-4)
    found = operator_norm(layer, shape)
    assert 0.98 * largest <= found <= largest * (1 + 1e-12)  # fifty iterations: close, and never above
    assert operator_norm(layer, shape) == found


def test_the_flattened_norm_and_the_operator_norm_bound_each_other() -> None:
    """‖conv‖ ≤ √(k_h k_w) ‖W‖ for stride 1 (Tsuzuku et al. 2018); SN makes the latter 1, not the former."""
    layer = nn.Conv2d(4, 4, 3, padding=1).double()
    for weight in (layer.weight.data, torch.ones_like(layer.weight)):
        layer.weight.data = weight
        flat = singular_values(matrix(layer.weight, layer))[0].item()
        assert operator_norm(layer, (4, 8, 8)) <= 3 * flat
    assert operator_norm(layer, (4, 8, 8)) > 2 * flat  # of all ones it nearly attains the bound


def test_a_convolution_merged_with_a_mean_is_taken_without_it() -> None:
    merged, plain = PooledConv2d(2, 3), nn.Conv2d(2, 3, 3, padding=1)
    plain.load_state_dict(merged.state_dict())
    assert operator_norm(merged, (2, 8, 8)) == operator_norm(plain, (2, 8, 8))


def test_the_operator_norm_is_of_the_weight_as_it_is_used() -> None:
    plain = nn.Conv2d(2, 3, 3, padding=1)
    plain.weight.data = random(3, 2, 3, 3).float()
    raw = operator_norm(plain, (2, 6, 6))
    sigma = singular_values(matrix(plain.weight, plain))[0].item()
    normalized = NORMS["sn"].hidden(plain)
    next(iter(normalized.parametrizations.weight)).iterate(normalized.parametrizations.weight.original, 200)
    assert operator_norm(normalized, (2, 6, 6)) == pytest.approx(raw / sigma, rel=1e-4)


def test_the_operator_norm_of_nothing() -> None:
    layer = nn.Conv2d(2, 3, 3)
    nn.init.zeros_(layer.weight)
    assert operator_norm(layer, (2, 5, 5)) == 0.0
    nn.init.constant_(layer.weight, float("nan"))
    assert math.isnan(operator_norm(layer, (2, 5, 5)))


def test_layers_without_an_operator_norm() -> None:
    assert has_operator(PooledConv2d(2, 2)) and not has_operator(nn.Linear(2, 2))
    assert not has_operator(nn.Conv2d(2, 2, 3, padding="same"))
    assert not has_operator(nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular"))
