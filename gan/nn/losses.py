"""GAN losses and gradient penalties as functions of the discriminator's logits, always (real, fake).

Logits are (N,) tensors, unbounded; each loss is a scalar, the mean over the batch.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

Loss = Callable[[Tensor, Tensor], Tensor]


class GANLoss(NamedTuple):
    """The losses of both networks. `uses_real` is True if the generator's loss also depends on the real logits."""

    discriminator: Loss  # (real logits, fake logits) -> scalar
    generator: Loss  # (real logits, ignored unless `uses_real`, fake logits) -> scalar
    uses_real: bool = False


def logistic_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """−E log D(x) − E log(1 − D(G(z))), D = sigmoid(logit) (Goodfellow et al. 2014, equation 1)."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def logistic_generator(_: Tensor, fake: Tensor) -> Tensor:
    """−E log D(G(z)), the non-saturating form (Goodfellow et al. 2014, section 3)."""
    return F.softplus(-fake).mean()


def hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """E max(0, 1 − D(x)) + E max(0, 1 + D(G(z))) (Miyato et al. 2018, equation 16)."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def negative_mean_generator(_: Tensor, fake: Tensor) -> Tensor:
    """−E D(G(z)), for the hinge loss (Miyato et al. 2018, equation 17) and the Wasserstein loss."""
    return -fake.mean()


def wasserstein_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """E D(G(z)) − E D(x) (Arjovsky et al. 2017, equation 3); needs a Lipschitz-bounded D."""
    return fake.mean() - real.mean()


def least_squares_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """½ E (D(x) − 1)² + ½ E D(G(z))² (Mao et al. 2017, equation 2, with a = 0, b = c = 1)."""
    return 0.5 * ((real - 1).square().mean() + fake.square().mean())


def least_squares_generator(_: Tensor, fake: Tensor) -> Tensor:
    """½ E (D(G(z)) − 1)² (Mao et al. 2017, equation 2)."""
    return 0.5 * (fake - 1).square().mean()


def relativistic_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """E softplus(−(D(x) − D(G(z)))), over pairs of a real and a fake image (R3GAN, arXiv 2501.05441, equation 2)."""
    return F.softplus(fake - real).mean()


def relativistic_generator(real: Tensor, fake: Tensor) -> Tensor:
    """E softplus(−(D(G(z)) − D(x))), over the same pairs."""
    return F.softplus(real - fake).mean()


LOSSES: dict[str, GANLoss] = {
    "hinge": GANLoss(hinge_discriminator, negative_mean_generator),
    "logistic": GANLoss(logistic_discriminator, logistic_generator),
    "wgan": GANLoss(wasserstein_discriminator, negative_mean_generator),
    "lsgan": GANLoss(least_squares_discriminator, least_squares_generator),
    "relativistic": GANLoss(relativistic_discriminator, relativistic_generator, uses_real=True),
}


def own_loss(loss: Any) -> GANLoss:
    """A user's own loss: an object, or a class, with functions `discriminator` and `generator` of real and fake logits.

    `uses_real` is True unless the object says otherwise. Both functions are tried on two logits. Raises a TypeError for
    anything else.
    """
    loss = loss() if isinstance(loss, type) else loss
    discriminator, generator = getattr(loss, "discriminator", None), getattr(loss, "generator", None)
    if not (callable(discriminator) and callable(generator)):
        raise TypeError("must have functions discriminator(real, fake) and generator(real, fake), as a GANLoss")
    _check_loss("discriminator", discriminator, ("real", "fake"))
    _check_loss("generator", generator, ("fake",))
    return GANLoss(discriminator, generator, uses_real=bool(getattr(loss, "uses_real", True)))


def _check_loss(name: str, loss: Loss, needed: tuple[str, ...]) -> None:
    """Raise a TypeError unless a loss is a scalar with gradients with respect to the logits in `needed`."""
    logits = {key: torch.tensor([0.5, -0.25], requires_grad=True) for key in ("real", "fake")}
    with torch.enable_grad():
        value = loss(logits["real"], logits["fake"])
    if not isinstance(value, Tensor) or value.dim():
        form = f"a tensor {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise TypeError(f"{name}(real, fake) returned {form}; it must return a scalar tensor, the mean over the batch")
    gradients = torch.autograd.grad(value, list(logits.values()), allow_unused=True) if value.requires_grad else ()
    reached = [key for key, gradient in zip(logits, gradients, strict=False) if gradient is not None]
    if missing := [key for key in needed if key not in reached]:
        raise TypeError(f"{name}(real, fake) has no gradient with respect to the {' and '.join(missing)} logits")


def squared_gradient(logits: Tensor, images: Tensor) -> Tensor:
    """E ‖∇ₓ D(x)‖², the zero-centred penalty: R1 on real images, R2 on fake ones (Mescheder et al. 2018, equation 9).

    Args:
        logits: (N,), computed from `images`.
        images: (N, C, H, W) with `requires_grad`.
    """
    return _gradient(logits, images).square().sum(1).mean()


def unit_gradient(logits: Tensor, images: Tensor) -> Tensor:
    """E (‖∇ₓ D(x)‖ − 1)², the WGAN-GP penalty, on interpolated images (Gulrajani et al. 2017, equation 3)."""
    return (_gradient(logits, images).norm(dim=1) - 1).square().mean()


def _gradient(logits: Tensor, images: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    gradient = gradient if gradient.dtype == torch.float64 else gradient.float()
    return gradient.flatten(1)  # (N, C, H, W) -> (N, C*H*W)
