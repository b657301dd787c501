"""Recompute the running statistics of an exported network before it is folded: `--precise-stats`"""

from collections.abc import Iterator

import torch
from torch import Tensor

from gan.export.network import DISCRIMINATOR, GENERATOR, ExportSource, Uint8Generator
from gan.export.training_images import BATCH, TrainingImages
from gan.norm import has_running_statistics, retake_running_statistics
from gan.sampling.standing_stats import use_standing_statistics

_SEED = 3  # of latents and of the order of images; scored images have seed 0, those of the calibration 2


def use_precise_statistics(source: ExportSource, batches: int, images: TrainingImages | None) -> bool:
    """Replace the running statistics of a network by means over new batches of 64, with its final weights.

    Those of a generator are taken with latents, those of a classifier with training images as they are, without
    augmentation. Those of a discriminator are taken with training images and with images of its generator: in turn, or
    half of each in a batch after a training with `--d-batch joint`.

    Args:
        images: the training images; not needed for a generator.

    Returns:
        False if the network has no running statistics; then it is unchanged.

    Raises:
        UserError: the images have no labels, and the network takes them.
    """
    network = source.network
    if not has_running_statistics(network):
        return False
    if source.kind == GENERATOR:
        generator = network.generator if isinstance(network, Uint8Generator) else network
        latent_dim = source.inputs[0].shape[0]
        return use_standing_statistics(generator, batches, _SEED, latent_dim=latent_dim, classes=source.label_classes)
    assert images is not None
    retake_running_statistics(network, _inputs(source, batches, images))
    return True


def _inputs(source: ExportSource, batches: int, images: TrainingImages) -> Iterator[tuple[Tensor, ...]]:
    """Batches of images, and their labels if the network takes labels."""
    if source.kind != DISCRIMINATOR:
        yield from _training_batches(images, batches, BATCH)
        return
    joint = source.recipe["config"]["d_batch"] == "joint"
    size = BATCH // 2 if joint else BATCH
    generated = images.generated_inputs(batches * size, _SEED, size)
    for pair in zip(_training_batches(images, batches, size), generated, strict=True):
        if joint:
            yield tuple(torch.cat(parts) for parts in zip(*pair, strict=True))
        else:
            yield from pair


def _training_batches(images: TrainingImages, batches: int, size: int) -> Iterator[tuple[Tensor, ...]]:
    """Batches of different training images in random order; beyond all images the order repeats."""
    count = len(images.train)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(_SEED))
    for batch in range(batches):
        yield images.inputs(images.train, order[torch.arange(batch * size, (batch + 1) * size) % count])
