"""Spherical interpolation between latents"""

import torch
from torch import Tensor


def interpolate(latents: Tensor, frames: int, *, closed: bool = False) -> Tensor:
    """Interpolate from each latent to the next in `frames` steps.

    Spherical interpolation (White 2016): a straight line would pass where a normal distribution has no mass.

    Args:
        latents: (K, latent_dim), at least two.
        closed: return to the first latent; the last frame is then the one before it.

    Returns:
        (frames * K, latent_dim) if closed, else (frames * (K − 1) + 1, latent_dim).
    """
    ends = torch.cat([latents[1:], latents[:1]]) if closed else latents[1:]
    path = [slerp(a, b, step / frames) for a, b in zip(latents, ends, strict=False) for step in range(frames)]
    return torch.stack(path if closed else [*path, latents[-1]])


def slerp(a: Tensor, b: Tensor, weight: float) -> Tensor:
    """The point on the arc from a to b, both (latent_dim,), at a fraction `weight` of its length."""
    cosine = torch.dot(a / a.norm(), b / b.norm()).clamp(-1, 1)
    angle = torch.arccos(cosine)
    if angle.sin() < 1e-6:  # equal or opposite directions, between which the arc is not defined
        return torch.lerp(a, b, weight)
    return (torch.sin((1 - weight) * angle) * a + torch.sin(weight * angle) * b) / torch.sin(angle)
