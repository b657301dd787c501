"""Gradient normalization against a formula written image by image, and its derivatives against finite differences."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gan.models.blocks import DiscriminatorNorm
from gan.models.dcgan import DCGANDiscriminator
from gan.models.norms import create_norm
from gan.models.resnet import ResNetDiscriminator
from gan.nn.losses import squared_gradient, unit_gradient
from gan.norm import NORMS, Norm, compose, gradient_normalized, power_iterate
from gan.norm.feature_norms import affine_mean, batch_norm, group_norm, instance_norm, layer_norm, mean
from gan.norm.weight_maps import plain, spectral_norm
from gan.training.optimizers import frozen

NETWORKS = {"dcgan": DCGANDiscriminator, "resnet": ResNetDiscriminator}
PER_IMAGE = ("none", "sn", "wn", "ln", "in")  # norms without a mean over the batch
QUANTITIES = {
    "mean": lambda logits, x: logits.mean(),
    "r1": squared_gradient,
    "gradient penalty": unit_gradient,
}


def build(network: str, norm: str, *, width: int = 2, classes: int = 0) -> nn.Module:
    """A discriminator in float64 with larger weights than DCGAN's, and biases other than 0 (f would be homogeneous)."""
    torch.manual_seed(2)
    discriminator = NETWORKS[network](32, 1, width, classes, normalize=DiscriminatorNorm(create_norm(norm))).double()
    with torch.no_grad():
        for name, parameter in discriminator.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0, 0.1)
            elif "original0" in name:  # of weight norm
                parameter.fill_(1.5)
            elif parameter.dim() > 1:
                parameter.normal_(0, 1.5 / parameter[0].numel() ** 0.5)
    power_iterate(discriminator, 10)
    return discriminator


def images(count: int = 3) -> Tensor:
    return torch.randn(count, 1, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def one_by_one(discriminator: nn.Module, batch: Tensor, labels: Tensor | None = None) -> Tensor:
    """f(x) / (‖∇f(x)‖ + |f(x)|), each image passed through the discriminator alone."""
    values = []
    for index in range(len(batch)):
        x = batch[index : index + 1]
        x = x if x.requires_grad else x.clone().requires_grad_()
        (logit,) = discriminator(x, None if labels is None else labels[index : index + 1])
        (slope,) = torch.autograd.grad(logit, x, create_graph=True)
        values.append(logit / ((slope * slope).sum().sqrt() + logit.abs()))
    return torch.stack(values)


def gradients(discriminator: nn.Module, value: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(value, list(discriminator.parameters()), materialize_grads=True))


def assert_same_gradients(discriminator: nn.Module, ours: Tensor, theirs: Tensor, tolerance: float = 1e-10) -> None:
    pairs = zip(gradients(discriminator, ours), gradients(discriminator, theirs), strict=True)
    for mine, other in pairs:
        torch.testing.assert_close(mine, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("norm", PER_IMAGE)
@pytest.mark.parametrize("network", NETWORKS)
def test_it_is_the_formula_image_by_image(network: str, norm: str, classes: int) -> None:
    discriminator, x = build(network, norm, classes=classes), images(4)
    labels = torch.tensor([0, 2, 1, 2]) if classes else None
    ours, theirs = gradient_normalized(discriminator, x, labels), one_by_one(discriminator, x, labels)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    assert ours.shape == (4,) and (ours.abs() <= 1).all() and not torch.equal(ours, discriminator(x, labels))
    assert not x.requires_grad
    assert_same_gradients(discriminator, ours.square().sum(), theirs.square().sum())


@pytest.mark.parametrize("quantity", ["r1", "gradient penalty"])
@pytest.mark.parametrize("network", NETWORKS)
def test_penalties_are_those_of_the_formula(network: str, quantity: str) -> None:
    discriminator, x = build(network, "sn"), images().requires_grad_()
    ours = QUANTITIES[quantity](gradient_normalized(discriminator, x), x)
    slopes = torch.stack(
        [torch.autograd.grad(value, x, create_graph=True)[0].norm() for value in one_by_one(discriminator, x)]
    )
    theirs = (slopes.square() if quantity == "r1" else (slopes - 1).square()).mean()
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    assert_same_gradients(discriminator, ours, theirs)


@pytest.mark.parametrize("kinks", ["smoothed", "as they are"])
@pytest.mark.parametrize("quantity", QUANTITIES)
@pytest.mark.parametrize("norm", PER_IMAGE)
@pytest.mark.parametrize("network", NETWORKS)
def test_derivatives_are_finite_differences(
    network: str, norm: str, quantity: str, kinks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With penalties these are third derivatives of f: smooth activations make none of them zero."""
    if kinks == "smoothed":
        monkeypatch.setattr(F, "relu", F.softplus)
        monkeypatch.setattr(F, "leaky_relu", lambda h, slope: slope * h + (1 - slope) * F.softplus(h))
    discriminator, x = build(network, f"{norm}+gradnorm", width=1), images(2).requires_grad_()
    parameters = [weight for weight in discriminator.parameters() if weight.requires_grad]

    def value(*_: Tensor) -> Tensor:  # gradcheck changes the parameters in place
        return QUANTITIES[quantity](gradient_normalized(discriminator, x), x)

    found = gradients(discriminator, value())
    scale = max(gradient.abs().max().item() for gradient in found)
    assert scale > 1e-8  # or the check below would pass for any gradient
    eps = 1e-6 if kinks == "smoothed" else 1e-8  # without a kink in between
    tolerance = 1e-5 if kinks == "smoothed" else 1e-3
    assert torch.autograd.gradcheck(
        value, parameters, eps=eps, atol=tolerance * scale, rtol=tolerance, fast_mode=True, nondet_tol=1e-12
    )


def test_g_learns_through_a_frozen_discriminator() -> None:
    discriminator, weight = build("dcgan", "sn"), images().requires_grad_()
    with frozen(discriminator):
        (ours,) = torch.autograd.grad(gradient_normalized(discriminator, weight.tanh()).sum(), weight)
        (theirs,) = torch.autograd.grad(one_by_one(discriminator, weight.tanh()).sum(), weight)
        assert not gradient_normalized(discriminator, images()).requires_grad  # nothing to differentiate
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-14)
    assert all(parameter.grad is None for parameter in discriminator.parameters())


@pytest.mark.parametrize("norm", ["none", "sn", "wn"])
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_callers_without_gradients(mode: type[torch.no_grad], norm: str) -> None:
    discriminator, x = build("resnet", norm, classes=3), images()
    labels = torch.tensor([0, 1, 2])
    expected = one_by_one(discriminator, x, labels).detach()
    with mode():
        inside = [gradient_normalized(discriminator, x.clone(), labels.clone()) for _ in range(2)]
        inside.append(gradient_normalized(discriminator, x.clone().requires_grad_(), labels))
        with parametrize.cached():
            inside += [gradient_normalized(discriminator, x, labels) for _ in range(2)]
    for values in inside:
        assert not values.requires_grad
        torch.testing.assert_close(values.clone(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("norm", PER_IMAGE)
@pytest.mark.parametrize("network", NETWORKS)
def test_autocast(network: str, norm: str) -> None:
    """bf16 layers, logits and norms in fp32; and weights that are computed once for two batches."""
    exact = build(network, norm, width=4)
    discriminator, x = copy.deepcopy(exact).float(), images()
    with torch.autocast("cpu", torch.bfloat16), parametrize.cached():
        first, second = (gradient_normalized(discriminator, x.float()) for _ in range(2))
    assert first.dtype == torch.float32 and torch.equal(first, second)
    theirs = one_by_one(exact, x)
    torch.testing.assert_close(first.double(), theirs, rtol=0.1, atol=0.05)
    ours = gradients(discriminator, first.square().mean() + second.mean())
    expected = gradients(exact, theirs.square().mean() + theirs.mean())
    a, b = (torch.cat([g.double().flatten() for g in found]) for found in (ours, expected))
    assert F.cosine_similarity(a, b, dim=0) > 0.95


def test_weights_computed_once_have_the_gradients_of_both_batches() -> None:
    discriminator, x, y = build("dcgan", "sn"), images(3), images(5)[2:] + 1
    with parametrize.cached():
        ours = gradient_normalized(discriminator, x).sum() - 2 * gradient_normalized(discriminator, y).sum()
    theirs = one_by_one(discriminator, x).sum() - 2 * one_by_one(discriminator, y).sum()
    assert_same_gradients(discriminator, ours, theirs)


@pytest.mark.parametrize("bias", [0.0, -2.0])
def test_a_gradient_of_zero(bias: float) -> None:
    """f̂ is the sign of f, or 0 where f is 0 too; nothing is NaN, not even the gradient of R1."""
    discriminator = nn.Sequential(nn.Flatten(), nn.Linear(4, 1), nn.Flatten(0))
    with torch.no_grad():
        discriminator[1].weight.zero_()
        discriminator[1].bias.fill_(bias)
    x = torch.randn(3, 1, 2, 2, requires_grad=True)
    ours = gradient_normalized(discriminator, x)
    torch.testing.assert_close(ours, torch.full((3,), bias).sign())
    loss = ours.sum() + squared_gradient(ours, x)
    assert all(gradient.isfinite().all() for gradient in [*gradients(discriminator, loss)])
    (expected,) = torch.autograd.grad(discriminator(x).sum(), discriminator[1].bias)
    (found,) = torch.autograd.grad(gradient_normalized(discriminator, x).sum(), discriminator[1].bias)
    torch.testing.assert_close(found, expected if bias == 0 else torch.zeros(1))


def test_logits_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"needs logits of shape \(2,\), not \(2, 5\)"):
        gradient_normalized(nn.Linear(3, 5), torch.randn(2, 3))


@pytest.mark.parametrize("feature_norm, name", [(batch_norm, "bn"), (mean, "mean"), (affine_mean, "affine-mean")])
def test_means_over_the_batch_are_refused(feature_norm: object, name: str) -> None:
    with pytest.raises(ValueError, match=f"^gradnorm needs each image's own gradient; {name} takes its mean over"):
        compose(plain, feature_norm, gradient_normalized)  # type: ignore[arg-type]
    assert compose(plain, feature_norm, one_by_one).critic is one_by_one  # type: ignore[arg-type]


@pytest.mark.parametrize("feature_norm", [None, layer_norm, instance_norm, group_norm])
def test_composed(feature_norm: object) -> None:
    with_critic = compose(spectral_norm, feature_norm, gradient_normalized)  # type: ignore[arg-type]
    without = compose(spectral_norm, feature_norm)  # type: ignore[arg-type]
    assert with_critic.critic is gradient_normalized and without.critic is None
    assert with_critic.pools == without.pools
    assert isinstance(with_critic, Norm)
    assert [name for name, norm in NORMS.items() if norm.critic] == ["gradnorm"]


def test_logits_of_a_norm() -> None:
    discriminator, x, labels = build("dcgan", "sn", classes=3), images(), torch.tensor([0, 1, 2])
    torch.testing.assert_close(NORMS["sn"].logits(discriminator, x, labels), discriminator(x, labels), rtol=0, atol=0)
    critic = compose(spectral_norm, critic=gradient_normalized)
    torch.testing.assert_close(critic.logits(discriminator, x, labels), one_by_one(discriminator, x, labels))
    linear = nn.Sequential(nn.Linear(3, 1), nn.Flatten(0))  # takes no labels
    x = torch.randn(2, 3)
    torch.testing.assert_close(compose().logits(linear, x), linear(x), rtol=0, atol=0)
    assert critic.logits(linear, x).shape == (2,)


def test_instance_norm_under_a_critic_is_instance_norm() -> None:
    """torch's own cannot be differentiated three times; the replacement has its numbers and parameter names."""
    layers = []
    for critic in (None, gradient_normalized):
        torch.manual_seed(0)
        layers.append(compose(spectral_norm, instance_norm, critic).hidden(nn.Conv2d(3, 4, 3).double()))
    assert layers[0].state_dict().keys() == layers[1].state_dict().keys()
    layers[1].load_state_dict(layers[0].state_dict())
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    torch.testing.assert_close(layers[0](x), layers[1](x), rtol=1e-12, atol=1e-12)
