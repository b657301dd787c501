"""The norm of benchmarks/remembered_mean.py: what is subtracted in training and evaluation, and its gradient."""

from __future__ import annotations

import torch
from remembered_mean import remembered_mean
from torch import nn


def test_each_pass_of_training_subtracts_the_mean_of_the_passes_before() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 5, 3).double()
    norm = remembered_mean(layer)
    mean = torch.zeros(5, dtype=torch.float64)
    for _ in range(3):
        x = torch.randn(4, 3, 8, 8, dtype=torch.float64)
        torch.testing.assert_close(norm(x), layer(x) - mean.view(-1, 1, 1), atol=1e-12, rtol=0)
        mean = 0.9 * mean + 0.1 * layer(x).mean((0, 2, 3))
    norm.eval()
    for _ in range(2):
        torch.testing.assert_close(norm(x), layer(x) - mean.view(-1, 1, 1), atol=1e-12, rtol=0)


def test_images_stay_apart_and_the_mean_has_no_gradient() -> None:
    torch.manual_seed(0)
    norm = remembered_mean(nn.Linear(3, 5))
    x = torch.randn(4, 3, requires_grad=True)
    gradient = torch.autograd.grad(norm(x)[0].sum(), x)[0]
    assert gradient[0].abs().sum() > 0 and not gradient[1:].any()
    torch.testing.assert_close(gradient[0], norm.layer.weight.sum(0))
