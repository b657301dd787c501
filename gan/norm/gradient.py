"""Gradient normalization of a whole discriminator: Wu et al. 2021 (arXiv 2109.02235)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .precision import at_least_fp32


def gradient_normalized(discriminator: nn.Module, images: Tensor, labels: Tensor | None = None) -> Tensor:
    """Compute f̂(x) = f(x) / (‖∇ₓ f(x)‖ + |f(x)|) for each image, f being the discriminator (Wu et al. 2021).

    The norm is taken over all values of an image, in fp32 at least, also under autocast. |f̂| is at most 1. Where both
    f and its gradient are zero, f̂ is 0 and its gradient is that of f.

    The result can be differentiated like f itself, also twice (R1, R2, WGAN-GP). Without gradients (`torch.no_grad`,
    `torch.inference_mode`, or neither the images nor a parameter requires one) it is detached.

    Args:
        discriminator: images (N, ...), and labels unless they are None, to logits (N,). The logit of an image must not
            depend on the other images.
        images: (N, ...); need not require gradients.

    Raises:
        ValueError: the discriminator's output is not (N,).
    """
    parameters = discriminator.parameters()
    graph = torch.is_grad_enabled() and (images.requires_grad or any(weight.requires_grad for weight in parameters))
    with torch.inference_mode(False), torch.enable_grad():
        x = images if graph and images.requires_grad else _normal(images).detach().requires_grad_()
        f = discriminator(x) if labels is None else discriminator(x, _normal(labels))
        if f.shape != images.shape[:1]:
            raise ValueError(f"gradient normalization needs logits of shape ({len(images)},), not {tuple(f.shape)}")
        f = at_least_fp32(f)
        with torch.autocast(x.device.type, enabled=False):
            (gradient,) = torch.autograd.grad(f.sum(), x, create_graph=graph)
            normalized = _divide(f, _norms(at_least_fp32(gradient).flatten(1)))
    return normalized if graph else normalized.detach()


def _divide(f: Tensor, norm: Tensor) -> Tensor:
    """Return f / (norm + |f|), and f where the divisor is zero."""
    divisor = norm + f.abs()
    return f / torch.where(divisor == 0, 1, divisor)


def _norms(rows: Tensor) -> Tensor:
    """Norm of each row of a matrix, whose derivatives of every order are zero, not NaN, for a row of zeros."""
    squares = rows.square().sum(1)
    zero = squares == 0
    return torch.where(zero, 0, torch.where(zero, 1, squares).sqrt())


def _normal(tensor: Tensor) -> Tensor:
    """Copy a tensor made in inference mode, which autograd cannot save."""
    return tensor.clone() if tensor.is_inference() else tensor
