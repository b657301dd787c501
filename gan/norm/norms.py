"""Norms: a weight map and a feature norm, composed, for the hidden layers and the output layer of a network."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor, nn

from .feature_norms import affine_mean, batch_norm, group_norm, instance_norm, layer_norm, mean
from .weight_maps import plain, spectral_norm, weight_norm

LayerFunction = Callable[[nn.Module], nn.Module]
Critic = Callable[[nn.Module, Tensor, Tensor | None], Tensor]

WEIGHT_MAPS: dict[str, Callable[..., nn.Module]] = {"none": plain, "wn": weight_norm, "sn": spectral_norm}
FEATURE_NORMS: dict[str, Callable[..., nn.Module]] = {
    "mean": mean,
    "affine-mean": affine_mean,
    "bn": batch_norm,
    "ln": layer_norm,
    "in": instance_norm,
    "group": group_norm,
}
CRITICS: dict[str, Critic] = {}


class Norm(NamedTuple):
    """Functions that normalize a hidden layer and an output layer; both modify the given layer."""

    hidden: LayerFunction
    output: LayerFunction
    pools: bool = True
    """A mean over neighbouring positions may come before the norm, for the same result: the norm shifts a channel by
    its mean or not at all, and its scale does not depend on the values."""
    critic: Critic | None = None
    """Computes the logits (N,) from the discriminator, images and labels; None: the discriminator does."""
    feature_norm: LayerFunction | None = None
    """What follows the weight map in `hidden`, if that is known."""

    def logits(self, discriminator: nn.Module, images: Tensor, labels: Tensor | None) -> Tensor:
        """Logits (N,) of images under this norm."""
        if self.critic is None:
            return discriminator(images, labels)
        return self.critic(discriminator, images, labels)


def compose(
    weight_map: LayerFunction = plain, feature_norm: LayerFunction | None = None, critic: Critic | None = None
) -> Norm:
    """The norm that applies a weight map to every layer, and a feature norm after each hidden one.

    The output layer gets the weight map alone: centering it would erase the mean logit.
    """
    if feature_norm is None:
        return Norm(weight_map, weight_map, critic=critic)
    pools = feature_norm in (mean, affine_mean)
    return Norm(lambda layer: feature_norm(weight_map(layer)), weight_map, pools, critic, feature_norm)


# Every name by itself.
NORMS: dict[str, Norm] = {
    **{name: compose(weight_map) for name, weight_map in WEIGHT_MAPS.items()},
    **{name: compose(plain, feature_norm) for name, feature_norm in FEATURE_NORMS.items()},
    "msn": compose(spectral_norm, mean),
    "msn-affine": compose(spectral_norm, affine_mean),
    **{name: compose(critic=critic) for name, critic in CRITICS.items()},
}
