"""The images that dynamics are sampled on: the same in every sample, and under every normalization and seed."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gan.config.train_config import TrainConfig
from gan.data import ImageSet
from gan.data.batches import to_float
from gan.dynamics.layers import Recorder
from gan.nn.losses import LOSSES

PARTS = 4  # mini-batches of the probe
PART = 32  # images of a mini-batch, or the training's batch if that is smaller
_SEED = 0  # of the choice of images and latents; training draws from other streams


class Probe(Protocol):
    """A fixed batch in parts, and the loss that a network is trained on."""

    size: int
    """Images of a part; of each kind, for a discriminator."""

    def losses(self, network: nn.Module, recorder: Recorder) -> Iterator[Tensor]:
        """The training loss on each part, a scalar with its graph; the recorder counts the real images."""


class ClassifierProbe:
    """Images of the training set, as they are, and the cross entropy.

    Args:
        images: the set, with labels. Where it is smaller than the probe, images come again.
        batch: of the training.
        device: where the network is.
    """

    def __init__(self, images: ImageSet, batch: int, device: torch.device) -> None:
        self.size = min(PART, batch)
        self._images, labels = _chosen(images, self.size, device)
        assert labels is not None
        self._labels = labels

    def losses(self, network: nn.Module, recorder: Recorder) -> Iterator[Tensor]:
        for x, labels in zip(self._images, self._labels, strict=True):
            with recorder.first(self.size):
                logits = network(x)
            yield F.cross_entropy(logits, labels)


class DiscriminatorProbe:
    """Real images, what the generator makes of fixed latents, and D's loss (without penalties).

    The moments of layers are those of the real images alone, which stay as they are while the generator changes. Where
    D is given both kinds as one batch, a norm may tell of the fake ones in what real ones become; then moments are
    taken in a pass of their own, whose fake images are those of the generator as it was when the probe was made.

    Args:
        config: of the run.
        images: its real images; where there are fewer than the probe has, images come again.
        classes: of a conditional run; 0 for an unconditional one.
        generator: that of the run, with its initial weights, also where the run is then resumed; a copy of it, as it is
            at that time, makes the images of each sample.
        device: where the networks are.
    """

    def __init__(
        self, config: TrainConfig, images: ImageSet, classes: int, generator: nn.Module, device: torch.device
    ) -> None:
        self.size = min(PART, config.batch)
        self._generator = generator
        self._loss = LOSSES[config.loss].discriminator
        self._joint = config.d_batch == "joint"
        self._real, real_labels = _chosen(images, self.size, device)
        stream = torch.Generator().manual_seed(_SEED)
        self._latents = torch.randn(PARTS, self.size, config.latent_dim, generator=stream).to(device)
        self._labels: list[tuple[Tensor | None, Tensor | None]] = [(None, None)] * PARTS
        if classes:
            assert real_labels is not None
            fake_labels = torch.randint(classes, (PARTS, self.size), generator=stream).to(device)
            self._labels = list(zip(real_labels, fake_labels, strict=True))
        self._first_fakes = list(self._fakes()) if self._joint else []

    def _fakes(self) -> Iterator[Tensor]:
        """What the generator makes of the latents now, part by part."""
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
                real_logits, fake_logits = network(torch.cat([x, fake]), labels).chunk(2)
            else:
                with parametrize.cached():
                    with recorder.first(self.size):
                        real_logits = network(x, x_labels)
                    fake_logits = network(fake, z_labels)
            yield self._loss(real_logits, fake_logits)


def _chosen(images: ImageSet, size: int, device: torch.device) -> tuple[list[Tensor], list[Tensor] | None]:
    """`PARTS` mini-batches of random images, float32 (size, C, R, R) in [-1, 1], and of their labels."""
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(_SEED))
    indices = order[torch.arange(PARTS * size) % len(images)]
    pixels = to_float(images.fetch(indices).to(device)).contiguous(memory_format=torch.channels_last)
    labels = None if images.labels is None else list(images.labels[indices].to(device).split(size))
    return list(pixels.split(size)), labels
