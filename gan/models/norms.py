"""Make the `gan.norm.Norm` of a value of --norm, also from a user's own code."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

from gan.config import plugins
from gan.config.norm_spec import Part, parse_norm
from gan.errors import UsageError
from gan.norm import CRITICS, FEATURE_NORMS, WEIGHT_MAPS, Norm, compose
from gan.norm.weight_maps import plain


def create_norm(text: str, flag: str = "--norm") -> Norm:
    """Make a norm from its text, such as `sn(gain=2)+mean` or `my_norm.py:name`.

    A user's own norm is an object with `hidden(layer)` and `output(layer)`, optionally `pools` and
    `critic(discriminator, images, labels)`, or a class of such objects, or a function of a layer. A function that
    returns the layer that it was given is a weight map, which the output layer gets too; one that returns another
    module is a feature norm. `pools` may be an attribute of the function, and is False by default.

    Raises:
        UsageError: it is no norm, or its parts cannot be joined.
        UserError: a user's own code cannot be loaded.
    """
    try:
        spec = parse_norm(text)
    except UsageError as error:
        raise UsageError(f"{flag} {text}: {error}") from None
    weight_map = None if spec.weight_map == Part("none") else _function(spec.weight_map, WEIGHT_MAPS)
    feature_norm = _function(spec.feature_norm, FEATURE_NORMS) if spec.feature_norm else None
    critic = _function(spec.critic, CRITICS) if spec.critic else None
    if not spec.own:
        return compose(weight_map or plain, feature_norm, critic)
    if len(spec.own) > 1 or (weight_map and feature_norm):
        raise UsageError(f"{flag} {text}: a norm of your own takes the place of the weight map or of the feature norm")
    (reference,) = spec.own
    own, is_map = _own_norm(reference, flag)
    if weight_map and is_map:
        raise UsageError(f"{flag} {text}: has two weight maps, {spec.weight_map} and {reference}; give one")
    if feature_norm and not is_map:
        raise UsageError(f"{flag} {text}: has two feature norms, {reference} and {spec.feature_norm}; give one")
    if critic and own.critic:
        raise UsageError(f"{flag} {text}: has two critics, {spec.critic} and that of {reference}; give one")
    if weight_map:
        own = own._replace(hidden=_chain(weight_map, own.hidden), output=_chain(weight_map, own.output))
    if feature_norm:
        joined = compose(own.output, feature_norm, critic or own.critic)
        assert joined.feature_norm is not None  # under a critic it may be another one
        own = own._replace(
            hidden=_chain(own.hidden, joined.feature_norm),
            feature_norm=joined.feature_norm,
            pools=own.pools and joined.pools,
        )
    return own._replace(critic=critic or own.critic)


def _function(part: Part, table: dict[str, Callable[..., Any]]) -> Callable[..., Any]:
    """The function of a part, with its options."""
    return partial(table[part.name], **dict(part.options)) if part.options else table[part.name]


def _chain(first: Callable[[nn.Module], nn.Module], second: Callable[[nn.Module], nn.Module]) -> Any:
    return lambda layer: second(first(layer))


def _own_norm(reference: str, flag: str) -> tuple[Norm, bool]:
    """A user's own norm, and whether it is a weight map: its `hidden` returns the layer that it was given."""
    own = plugins.load(reference, flag)
    where = f"{flag} {reference}"
    with plugins.reported_errors(where, "function(layer), or hidden(layer) and output(layer) of an object"):
        if isinstance(own, type):
            own = own()
        if isinstance(own, Norm):
            return own, _returns_the_layer(own.hidden)
        if hasattr(own, "hidden") and hasattr(own, "output"):
            pools, critic = bool(getattr(own, "pools", False)), getattr(own, "critic", None)
            return Norm(own.hidden, own.output, pools=pools, critic=critic), _returns_the_layer(own.hidden)
        if not callable(own):
            raise UsageError(
                f"{where}: is of type {type(own).__name__}; a norm is an object with hidden(layer) and output(layer), "
                "or a function of a layer"
            )
        is_map = _returns_the_layer(own)
        return Norm(own, own if is_map else plain, pools=bool(getattr(own, "pools", False))), is_map


def _returns_the_layer(function: Callable[[nn.Module], nn.Module]) -> bool:
    """True if a function of a layer returns the layer itself; a TypeError if it returns no module."""
    with torch.random.fork_rng(devices=[]):
        layer = nn.Conv2d(4, 4, 3, padding=1)
        result = function(layer)
    if not isinstance(result, nn.Module):
        raise TypeError(f"returned {type(result).__name__} for a convolution; return the layer, or a module around it")
    return result is layer
