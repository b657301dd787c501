"""Try a user's own networks on two images before they are trained or sampled."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from gan.config.train_config import TrainConfig


def check_generator(generator: object, config: TrainConfig, classes: int) -> None:
    """Raise a TypeError unless it makes images (N, C, R, R) of latents."""
    shape = (2, config.channels, config.resolution, config.resolution)
    images = _output(generator, "generator", torch.zeros(2, config.latent_dim), classes)
    if images.shape != shape:
        raise TypeError(
            f"the generator returned {tuple(images.shape)} for 2 latents; it must return images {shape}, by --channels "
            f"{config.channels} and --resolution {config.resolution}"
        )


def check_discriminator(discriminator: object, config: TrainConfig, classes: int) -> None:
    """Raise a TypeError unless it makes logits (N,) of images."""
    images = torch.zeros(2, config.channels, config.resolution, config.resolution)
    logits = _output(discriminator, "discriminator", images, classes)
    if logits.shape != (2,):
        raise TypeError(
            f"the discriminator returned {tuple(logits.shape)} for 2 images; it must return a logit for each, (2,)"
        )


def _output(network: object, name: str, inputs: Tensor, classes: int) -> Tensor:
    """The output of a network for two inputs, and labels if there are classes; a TypeError unless it has gradients."""
    if not isinstance(network, nn.Module):
        raise TypeError(f"the {name} is of type {type(network).__name__}; it must be a torch.nn.Module")
    labels = torch.zeros(2, dtype=torch.long) if classes else None
    with _in_evaluation_mode(network), torch.enable_grad():
        output = network(inputs, labels)
        if not classes:
            network(inputs)  # labels may be left out then
    if not isinstance(output, Tensor):
        raise TypeError(f"the {name} returned {type(output).__name__}; it must return a tensor")
    if not output.requires_grad:
        raise TypeError(f"the output of the {name} has no gradient with respect to its parameters")
    return output


@contextmanager
def _in_evaluation_mode(network: nn.Module) -> Iterator[None]:
    """Run the block with a network in evaluation mode, so that running statistics do not change."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
