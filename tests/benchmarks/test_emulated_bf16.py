"""Emulated bf16 products against sums in float64, rounded once."""

import pytest
import torch
import torch.nn.functional as F
from emulated_bf16 import EmulatedProducts


def results(operation, shapes, dtype):
    """Result and gradients of an operation on random bf16 numbers, stored in another type."""
    random = torch.Generator().manual_seed(0)
    inputs = [torch.randn(shape, generator=random).bfloat16().to(dtype).requires_grad_() for shape in shapes]
    result = operation(*inputs)
    result.backward(torch.randn(result.shape, generator=random).bfloat16().to(dtype))
    return [result.detach(), *(value.grad for value in inputs)]


@pytest.mark.parametrize(
    "operation, shapes",
    [
        (lambda x, w, b: F.conv2d(x, w, b, 2, 1), [(3, 4, 8, 8), (6, 4, 4, 4), (6,)]),
        (lambda x, w: F.conv_transpose2d(x, w, None, 2, 1), [(3, 4, 5, 5), (4, 6, 4, 4)]),
        (F.linear, [(3, 7), (5, 7), (5,)]),
        (torch.bmm, [(2, 3, 7), (2, 7, 5)]),
    ],
    ids=["convolution", "transposed", "linear", "bmm"],
)
def test_a_product_and_its_gradients_are_exact_sums_rounded_to_bf16(operation, shapes):
    exact = results(operation, shapes, torch.float64)
    with EmulatedProducts():
        emulated = results(operation, shapes, torch.bfloat16)
    for ours, reference in zip(emulated, exact, strict=True):
        assert ours.dtype == torch.bfloat16
        torch.testing.assert_close(ours.double(), reference, rtol=2**-8, atol=1e-5)  # half a unit in the last place


def test_other_types_are_left_alone():
    x = torch.randn(5, 300)
    plain = x @ x.T
    with EmulatedProducts():
        assert torch.equal(x @ x.T, plain)
