"""GAN networks: tables and builders. One class serves all resolutions; networks are independent of their training."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn

from gan.config import choices, plugins
from gan.config.norm_spec import parse_norm
from gan.config.train_config import TrainConfig
from gan.errors import UsageError
from gan.models.blocks import DiscriminatorNorm
from gan.models.dcgan import DCGANDiscriminator, DCGANGenerator
from gan.models.own_network import check_discriminator, check_generator
from gan.models.r3gan import R3GANDiscriminator, R3GANGenerator
from gan.models.resnet import ResNetDiscriminator, ResNetGenerator
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
    "r3gan": Network(R3GANGenerator, R3GANDiscriminator),
}


_GENERATOR_CALL = "generator(resolution, channels, latent_dim, width=, classes=), then network(latents, labels=None)"
_DISCRIMINATOR_CALL = (
    "discriminator(resolution, channels, width=, classes=, normalize=), then network(images, labels=None)"
)


def build_generator(config: TrainConfig, classes: int = 0) -> nn.Module:
    """Build the generator of a run, conditioned on `classes` classes, with initial weights drawn from the seed."""
    build = choices.NETWORKS.load(config.network).generator
    sizes = (config.resolution, config.channels, config.latent_dim)
    with seeded_globally(random_stream(config.seed, WEIGHTS, 0).initial_seed()):
        if config.network in NETWORKS:
            return build(*sizes, width=config.g_width, classes=classes)
        with plugins.reported_errors(f"--network {config.network}", _GENERATOR_CALL):
            generator = build(*sizes, width=config.g_width, classes=classes)
            check_generator(generator, config, classes)
    return generator


def build_discriminator(config: TrainConfig, classes: int = 0) -> nn.Module:
    """Build the discriminator of a run; its raw initial weights are the same for every normalization.

    Raises UsageError if `norm_layers` has the number of a convolution that the network does not have.
    """
    build = choices.NETWORKS.load(config.network).discriminator
    normalize = DiscriminatorNorm(choices.NORMS.load(config.norm), config.norm_layers)
    options: dict[str, Any] = {"width": config.d_width, "classes": classes, "normalize": normalize}
    with seeded_globally(random_stream(config.seed, WEIGHTS, 1).initial_seed()):
        if config.network in NETWORKS:
            discriminator = build(config.resolution, config.channels, **options)
        else:
            with plugins.reported_errors(f"--network {config.network}", _DISCRIMINATOR_CALL):
                discriminator = build(config.resolution, config.channels, **options)
                check_discriminator(discriminator, config, classes)
            spec = parse_norm(config.norm)
            layers = spec.weight_map.name != "none" or spec.feature_norm or spec.own
            if layers and not normalize.used:
                raise UsageError(
                    f"--network {config.network}: its discriminator gives no layer to normalize.hidden(layer) or "
                    f"normalize.output(layer), so that --norm {config.norm} has no effect on layers; use normalize in "
                    "it, or --norm none"
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


def count_parameters(network: nn.Module) -> int:
    """Count the learned parameters of a network."""
    return sum(parameter.numel() for parameter in network.parameters())
