"""Norms: a weight map, a feature norm and a critic, composed, for the layers of a network and for the whole of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor, nn

from .feature_norms import (
    affine_mean,
    batch_norm,
    instance_norm,
    layer_norm,
    mean,
    thrice_differentiable_instance_norm,
)
from .gradient import gradient_normalized
from .weight_maps import plain, spectral_norm, weight_norm

LayerFunction = Callable[[nn.Module], nn.Module]
Critic = Callable[[nn.Module, Tensor, Tensor | None], Tensor]

# Feature norms that make the logit of an image depend on the other images, and their names.
_OF_THE_BATCH: dict[LayerFunction | None, str] = {batch_norm: "bn", mean: "mean", affine_mean: "affine-mean"}


class Norm(NamedTuple):
    """Functions that normalize a hidden layer and an output layer; both modify the given layer.

    `critic` normalizes a discriminator as a whole: (discriminator, images, labels or None) to logits (N,). None leaves
    the discriminator's own logits. `logits` applies it.

    `pools` is True if a mean over neighbouring positions may come before the norm, for the same result: the norm shifts
    a channel by its mean or not at all, and its scale does not depend on the values.
    """

    hidden: LayerFunction
    output: LayerFunction
    pools: bool = True
    critic: Critic | None = None

    def logits(self, discriminator: nn.Module, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Compute the logits (N,) of a discriminator with this norm; labels of None are not passed to it."""
        if self.critic is not None:
            return self.critic(discriminator, images, labels)
        return discriminator(images) if labels is None else discriminator(images, labels)


def compose(
    weight_map: LayerFunction = plain, feature_norm: LayerFunction | None = None, critic: Critic | None = None
) -> Norm:
    """The norm that applies a weight map to every layer, a feature norm after each hidden one, and a critic to all.

    The output layer gets the weight map alone: centering it would erase the mean logit.

    Raises:
        ValueError: the critic is gradient normalization, and the feature norm takes a mean over the batch.
    """
    if critic is gradient_normalized and feature_norm in _OF_THE_BATCH:
        raise ValueError(
            f"gradnorm needs each image's own gradient; {_OF_THE_BATCH[feature_norm]} takes its mean over the batch; "
            "use ln, in, group or no feature norm"
        )
    if critic is not None and feature_norm is instance_norm:
        feature_norm = thrice_differentiable_instance_norm
    if feature_norm is None:
        return Norm(weight_map, weight_map, critic=critic)
    pools = feature_norm in (mean, affine_mean)
    return Norm(lambda layer: feature_norm(weight_map(layer)), weight_map, pools, critic)


NORMS: dict[str, Norm] = {
    "none": compose(),
    "bn": compose(plain, batch_norm),
    "ln": compose(plain, layer_norm),
    "in": compose(plain, instance_norm),
    "wn": compose(weight_norm),
    "mean": compose(plain, mean),
    "sn": compose(spectral_norm),
    "msn": compose(spectral_norm, mean),
    "msn-affine": compose(spectral_norm, affine_mean),
}
