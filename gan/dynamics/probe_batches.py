"""Fixed mini-batches for samples of training dynamics: the same for every sample, normalization and seed."""

import copy
from collections.abc import Iterator
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gan.config.choices import LOSSES, NORMS
from gan.config.train_config import TrainConfig
from gan.data.batches import to_float
from gan.data.image_set import ImageSet
from gan.dynamics.layers import Recorder

PARTS = 4  # mini-batches of a probe
PART = 32  # images of a mini-batch, at most the training's batch
_SEED = 0  # of images and latents; independent of training's random streams


class Probe(Protocol):
    """Fixed mini-batches and the training loss on them."""

    size: int
    """Images of a mini-batch; for a discriminator, real images, and as many generated ones."""

    def losses(self, network: nn.Module, recorder: Recorder) -> Iterator[Tensor]:
        """Yield the training loss on each mini-batch, a scalar with its graph; real images enter the moments."""


class ClassifierProbe:
    """Training images without augmentation, and the cross entropy.

    Args:
        images: a labelled set; images repeat if it is smaller than the probe.
        batch: batch size of the training.
        device: device of the network.
    """

    def __init__(self, images: ImageSet, batch: int, device: torch.device) -> None:
        self.size = min(PART, batch)
        self._images, labels = _random_batches(images, self.size, device)
        assert labels is not None
        self._labels = labels

    def losses(self, network: nn.Module, recorder: Recorder) -> Iterator[Tensor]:
        for x, labels in zip(self._images, self._labels, strict=True):
            with recorder.first(self.size):
                logits = network(x)
            yield F.cross_entropy(logits, labels)


class DiscriminatorProbe:
    """Real images, images generated from fixed latents, and D's loss without penalties.

    Moments are those of the real images alone, which do not change with the generator. If D takes both kinds as one
    batch, generated images may affect the real ones through the norm; then moments are taken in a separate pass with
    the images that the generator made when the probe was built.

    Args:
        config: configuration of the run.
        images: its real images; they repeat if there are fewer than in the probe.
        classes: number of classes; 0 for an unconditional run.
        generator: the run's generator with its initial weights, also if the run is then resumed; each sample generates
            images with a copy of it in its current state.
        device: device of the networks.
    """

    def __init__(
        self,
        config: TrainConfig,
        images: ImageSet,
        classes: int,
        generator: nn.Module,
        device: torch.device,
    ) -> None:
        self.size = min(PART, config.batch)
        self._generator = generator
        self._norm = NORMS.load(config.norm)
        self._loss = LOSSES.load(config.loss).discriminator
        self._joint = config.d_batch == "joint"
        self._real, real_labels = _random_batches(images, self.size, device)
        stream = torch.Generator().manual_seed(_SEED)
        self._latents = torch.randn(PARTS, self.size, config.latent_dim, generator=stream).to(device)
        self._labels: list[tuple[Tensor | None, Tensor | None]] = [(None, None)] * PARTS
        if classes:
            assert real_labels is not None
            fake_labels = torch.randint(classes, (PARTS, self.size), generator=stream).to(device)
            self._labels = list(zip(real_labels, fake_labels, strict=True))
        self._first_fakes = list(self._fakes()) if self._joint else []

    def _fakes(self) -> Iterator[Tensor]:
        """Generate the images of each mini-batch with the generator's current weights."""
        generator = copy.deepcopy(self._generator).train()
        for z, (_, labels) in zip(self._latents, self._labels, strict=True):
            with torch.no_grad():
                fake = generator(z, labels).float()
            yield fake

    def losses(self, network: nn.Module, recorder: Recorder) -> Iterator[Tensor]:
        for part, (x, fake, (x_labels, z_labels)) in enumerate(
            zip(self._real, self._fakes(), self._labels, strict=True)
        ):
            if self._joint:
                labels = None if x_labels is None or z_labels is None else torch.cat([x_labels, z_labels])
                with torch.no_grad(), recorder.first(self.size):
                    network(torch.cat([x, self._first_fakes[part]]), labels)
                real_logits, fake_logits = self._norm.logits(network, torch.cat([x, fake]), labels).chunk(2)
            else:
                with parametrize.cached():
                    with recorder.first(self.size):
                        real_logits = self._norm.logits(network, x, x_labels)
                    fake_logits = self._norm.logits(network, fake, z_labels)
            yield self._loss(real_logits, fake_logits)


def _random_batches(images: ImageSet, size: int, device: torch.device) -> tuple[list[Tensor], list[Tensor] | None]:
    """Return `PARTS` mini-batches of random images, float32 (size, C, R, R) in [-1, 1], and their labels."""
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(_SEED))
    indices = order[torch.arange(PARTS * size) % len(images)]
    pixels = to_float(images.fetch(indices).to(device)).contiguous(memory_format=torch.channels_last)
    labels = None if images.labels is None else list(images.labels[indices].to(device).split(size))
    return list(pixels.split(size)), labels
