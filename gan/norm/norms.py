"""Norms: a weight map and a feature norm, composed, for the hidden layers and the output layer of a network."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import nn

from .feature_norms import affine_mean, batch_norm, instance_norm, layer_norm, mean
from .weight_maps import plain, spectral_norm, weight_norm

LayerFunction = Callable[[nn.Module], nn.Module]


class Norm(NamedTuple):
    """Functions that normalize a hidden layer and an output layer; both modify the given layer.

    `pools` is True if a mean over neighbouring positions may come before the norm, for the same result: the norm shifts
    a channel by its mean or not at all, and its scale does not depend on the values.
    """

    hidden: LayerFunction
    output: LayerFunction
    pools: bool = True


def compose(weight_map: LayerFunction = plain, feature_norm: LayerFunction | None = None) -> Norm:
    """The norm that applies a weight map to every layer, and a feature norm after each hidden one.

    The output layer gets the weight map alone: centering it would erase the mean logit.
    """
    if feature_norm is None:
        return Norm(weight_map, weight_map)
    return Norm(lambda layer: feature_norm(weight_map(layer)), weight_map, pools=feature_norm in (mean, affine_mean))


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
