"""Losses and penalties against their formulas in float64, and the positions of their minima."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gan.nn.losses import LOSSES, squared_gradient, unit_gradient

REAL = torch.tensor([0.5, -2.0, 1.5], dtype=torch.float64)
FAKE = torch.tensor([-0.25, 3.0, -1.5], dtype=torch.float64)


def log_sigmoid(x: torch.Tensor) -> torch.Tensor:
    return -torch.log(1 + torch.exp(-x))


FORMULAS = {
    "hinge": (
        lambda r, f: torch.clamp(1 - r, min=0).mean() + torch.clamp(1 + f, min=0).mean(),
        lambda r, f: -f.mean(),
    ),
    "logistic": (
        lambda r, f: -log_sigmoid(r).mean() - torch.log(1 - torch.sigmoid(f)).mean(),
        lambda r, f: -log_sigmoid(f).mean(),
    ),
    "wgan": (lambda r, f: f.mean() - r.mean(), lambda r, f: -f.mean()),
    "lsgan": (
        lambda r, f: ((r - 1) ** 2).mean() / 2 + (f**2).mean() / 2,
        lambda r, f: ((f - 1) ** 2).mean() / 2,
    ),
    "relativistic": (lambda r, f: -log_sigmoid(r - f).mean(), lambda r, f: -log_sigmoid(f - r).mean()),
}


@pytest.mark.parametrize("name", LOSSES)
def test_formula(name: str) -> None:
    discriminator, generator = FORMULAS[name]
    torch.testing.assert_close(LOSSES[name].discriminator(REAL, FAKE), discriminator(REAL, FAKE), rtol=0, atol=1e-12)
    torch.testing.assert_close(LOSSES[name].generator(REAL, FAKE), generator(REAL, FAKE), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_real_and_fake_are_not_swapped(name: str) -> None:
    """D's loss falls when real logits rise and fake ones fall; G's when fake ones rise."""
    real, fake = (torch.zeros(4, requires_grad=True) for _ in range(2))
    d_real, d_fake = torch.autograd.grad(LOSSES[name].discriminator(real, fake), (real, fake))
    assert (d_real < 0).all()
    assert (d_fake > 0).all() or name == "lsgan"  # its minimum for fakes is at 0
    (g_fake,) = torch.autograd.grad(LOSSES[name].generator(real, fake), fake)
    assert (g_fake < 0).all()


@pytest.mark.parametrize("name", LOSSES)
def test_large_logits_stay_finite(name: str) -> None:
    for value in (LOSSES[name].discriminator(-REAL * 1e4, FAKE * 1e4), LOSSES[name].generator(REAL * 1e4, -FAKE * 1e4)):
        assert value.isfinite()


def test_penalties_of_a_linear_discriminator() -> None:
    """D(x) = ⟨w, x⟩ has the gradient w everywhere."""
    w = torch.randn(3 * 4 * 4, dtype=torch.float64)
    x = torch.randn(5, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    logits = x.flatten(1) @ w
    torch.testing.assert_close(squared_gradient(logits, x), w.square().sum(), rtol=1e-12, atol=0)
    torch.testing.assert_close(unit_gradient(logits, x), (w.norm() - 1) ** 2, rtol=1e-12, atol=0)


def test_penalty_is_a_mean_over_images() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.Tanh(), nn.Linear(4, 1), nn.Flatten(0))
    x = torch.randn(6, 3, 2, 2, requires_grad=True)
    whole = squared_gradient(network(x), x)
    singly = [squared_gradient(network(one), one) for one in (x[i : i + 1].detach().requires_grad_() for i in range(6))]
    torch.testing.assert_close(whole, torch.stack(singly).mean())
