"""Walks between latents by spherical interpolation"""

from __future__ import annotations

import torch
from torch import Tensor


def interpolate(keys: Tensor, frames: int, *, closed: bool = False) -> Tensor:
    """Latents on the way from key to key, with `frames` steps for each part of it.

    Spherical interpolation (White 2016): a straight line would pass where a normal distribution has no mass.

    Args:
        keys: (K, latent_dim), at least two.
        closed: come back to the first key; the last frame is then the one before it.

    Returns:
        (frames * K, latent_dim) if closed, else (frames * (K − 1) + 1, latent_dim).
    """
    ends = torch.cat([keys[1:], keys[:1]]) if closed else keys[1:]
    path = [slerp(a, b, step / frames) for a, b in zip(keys, ends, strict=False) for step in range(frames)]
    return torch.stack(path if closed else [*path, keys[-1]])


def slerp(a: Tensor, b: Tensor, share: float) -> Tensor:
    """The point at `share` of the arc from a to b, both (latent_dim,)."""
    cosine = torch.dot(a / a.norm(), b / b.norm()).clamp(-1, 1)
    angle = torch.arccos(cosine)
    if angle.sin() < 1e-6:  # the same or opposite direction: the arc is not defined
        return torch.lerp(a, b, share)
    return (torch.sin((1 - share) * angle) * a + torch.sin(share * angle) * b) / torch.sin(angle)
