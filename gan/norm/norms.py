"""Norms: a weight map, a feature norm and a critic, composed, for the layers of a network and for the whole of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor, nn

from .feature_norms import (
    affine_mean,
    batch_norm,
    group_norm,
    instance_norm,
    layer_norm,
    mean,
    thrice_differentiable_instance_norm,
)
from .gradient import gradient_normalized
from .weight_maps import (
    bidirectional_spectral_norm,
    convolution_spectral_norm,
    orthogonal,
    plain,
    spectral_norm,
    weight_norm,
)

LayerFunction = Callable[[nn.Module], nn.Module]
Critic = Callable[[nn.Module, Tensor, Tensor | None], Tensor]

WEIGHT_MAPS: dict[str, Callable[..., nn.Module]] = {
    "none": plain,
    "wn": weight_norm,
    "sn": spectral_norm,
    "bssn": bidirectional_spectral_norm,
    "sn-conv": convolution_spectral_norm,
    "orth": orthogonal,
}
FEATURE_NORMS: dict[str, Callable[..., nn.Module]] = {
    "mean": mean,
    "affine-mean": affine_mean,
    "bn": batch_norm,
    "ln": layer_norm,
    "in": instance_norm,
    "group": group_norm,
}
CRITICS: dict[str, Critic] = {"gradnorm": gradient_normalized}

# Feature norms that make the logit of an image depend on the other images, and their names.
_OF_THE_BATCH: dict[LayerFunction | None, str] = {batch_norm: "bn", mean: "mean", affine_mean: "affine-mean"}


class Norm(NamedTuple):
    """Functions that normalize a hidden layer and an output layer; both modify the given layer."""

    hidden: LayerFunction
    output: LayerFunction
    pools: bool = True
    """A mean over neighbouring positions may come before the norm, for the same result: the norm shifts a channel by
    its mean or not at all, and its scale does not depend on the values."""
    critic: Critic | None = None
    """Computes the logits (N,) from the discriminator, images, and labels or None; None: the discriminator does."""
    feature_norm: LayerFunction | None = None
    """What follows the weight map in `hidden`; None if nothing does, or if that is not known."""

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
    return Norm(lambda layer: feature_norm(weight_map(layer)), weight_map, pools, critic, feature_norm)


# Every name by itself.
NORMS: dict[str, Norm] = {
    **{name: compose(weight_map) for name, weight_map in WEIGHT_MAPS.items()},
    **{name: compose(plain, feature_norm) for name, feature_norm in FEATURE_NORMS.items()},
    "msn": compose(spectral_norm, mean),
    "msn-affine": compose(spectral_norm, affine_mean),
    **{name: compose(critic=critic) for name, critic in CRITICS.items()},
}
