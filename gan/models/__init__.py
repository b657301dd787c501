"""GAN networks: tables and builders. One class serves all resolutions; networks are independent of their training."""

from collections.abc import Callable
from functools import partial

from torch import nn

from gan.config.train_config import TrainConfig
from gan.models.dcgan import WIDTH, DCGANDiscriminator, DCGANGenerator
from gan.models.resnet import SHAPES, ResNetDiscriminator, ResNetGenerator
from gan.utils.random_streams import WEIGHTS, random_stream, seeded_globally

GENERATORS: dict[str, Callable[..., nn.Module]] = {
    "dcgan": DCGANGenerator,
    "sngan-cnn": partial(DCGANGenerator, linear_stem=True),
    "resnet": ResNetGenerator,
}
DISCRIMINATORS: dict[str, Callable[..., nn.Module]] = {
    "dcgan": DCGANDiscriminator,
    "sngan-cnn": DCGANDiscriminator,
    "resnet": ResNetDiscriminator,
}


def build_generator(config: TrainConfig, classes: int = 0) -> nn.Module:
    """Build the generator of a run, conditioned on `classes` classes, with initial weights drawn from the seed."""
    with seeded_globally(random_stream(config.seed, WEIGHTS, 0).initial_seed()):
        return GENERATORS[config.network](
            config.resolution, config.channels, config.latent_dim, width=config.g_width, classes=classes
        )


def build_discriminator(config: TrainConfig, classes: int = 0) -> nn.Module:
    """Build the discriminator of a run; its raw initial weights are the same for every normalization.

    Raises UsageError if `norm_layers` has the number of a convolution that the network does not have.
    """
    with seeded_globally(random_stream(config.seed, WEIGHTS, 1).initial_seed()):
        return DISCRIMINATORS[config.network](
            config.resolution,
            config.channels,
            width=config.d_width,
            classes=classes,
            norm=config.norm,
            norm_layers=config.norm_layers,
        )


def published_widths(config: TrainConfig) -> dict[str, int]:
    """Return the published widths, which `g_width` and `d_width` default to."""
    if config.network == "resnet":
        shape = SHAPES[config.resolution]
        return {"g_width": shape.generator_width, "d_width": shape.discriminator_width}
    return {"g_width": WIDTH, "d_width": WIDTH}


def count_parameters(network: nn.Module) -> int:
    """Count the learned parameters of a network."""
    return sum(parameter.numel() for parameter in network.parameters())
