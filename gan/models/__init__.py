"""GAN networks: tables and builders. One class serves all resolutions; networks are independent of their training."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn

from gan.config import choices
from gan.config.train_config import TrainConfig
from gan.models.blocks import DiscriminatorNorm
from gan.models.dcgan import WIDTH, DCGANDiscriminator, DCGANGenerator
from gan.models.resnet import SHAPES, ResNetDiscriminator, ResNetGenerator
from gan.norm import settle_input_sizes
from gan.utils.random_streams import WEIGHTS, random_stream, seeded_globally


class Network(NamedTuple):
    """The builders of a generator and a discriminator, which draw their weights from torch's global random stream."""

    generator: Callable[..., nn.Module]
    """From (resolution, channels, latent_dim, width=, classes=); see `DCGANGenerator`."""
    discriminator: Callable[..., nn.Module]
    """From (resolution, channels, width=, classes=, normalize=); see `DCGANDiscriminator`."""


NETWORKS: dict[str, Network] = {
    "dcgan": Network(DCGANGenerator, DCGANDiscriminator),
    "sngan-cnn": Network(partial(DCGANGenerator, linear_stem=True), DCGANDiscriminator),
    "resnet": Network(ResNetGenerator, ResNetDiscriminator),
}


def build_generator(config: TrainConfig, classes: int = 0) -> nn.Module:
    """Build the generator of a run, conditioned on `classes` classes, with initial weights drawn from the seed."""
    builder = choices.NETWORKS.load(config.network).generator
    with seeded_globally(random_stream(config.seed, WEIGHTS, 0).initial_seed()):
        return builder(config.resolution, config.channels, config.latent_dim, width=config.g_width, classes=classes)


def build_discriminator(config: TrainConfig, classes: int = 0) -> nn.Module:
    """Build the discriminator of a run; its raw initial weights are the same for every normalization.

    Raises UsageError if `norm_layers` has the number of a convolution that the network does not have.
    """
    builder = choices.NETWORKS.load(config.network).discriminator
    normalize = DiscriminatorNorm(choices.NORMS.load(config.norm), config.norm_layers)
    with seeded_globally(random_stream(config.seed, WEIGHTS, 1).initial_seed()):
        discriminator = builder(
            config.resolution, config.channels, width=config.d_width, classes=classes, normalize=normalize
        )
    normalize.check_layer_numbers()
    # For norms that depend on the sizes of maps.
    labels = [torch.zeros(1, dtype=torch.long)] if classes else []
    settle_input_sizes(discriminator, torch.zeros(1, config.channels, config.resolution, config.resolution), *labels)
    return discriminator


def own_network(builders: Any) -> Network:
    """A user's own pair (generator, discriminator) of builders; a TypeError for anything else."""
    if not (isinstance(builders, Sequence) and len(builders) == 2 and all(map(callable, builders))):
        raise TypeError("must be a pair (generator, discriminator) of functions or classes that build the networks")
    return Network(*builders)


def published_widths(config: TrainConfig) -> dict[str, int]:
    """Return the published widths, which `g_width` and `d_width` default to; none for a user's own network."""
    if config.network not in NETWORKS:
        return {}
    if config.network == "resnet":
        shape = SHAPES[config.resolution]
        return {"g_width": shape.generator_width, "d_width": shape.discriminator_width}
    return {"g_width": WIDTH, "d_width": WIDTH}


def count_parameters(network: nn.Module) -> int:
    """Count the learned parameters of a network."""
    return sum(parameter.numel() for parameter in network.parameters())
