"""What a training step is made of: images, labels and latents, all of them functions of (seed, step)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from gan.config.train_config import TrainConfig
from gan.data import Batches, ImageSet
from gan.data.batches import to_float
from gan.data.device_resident import pixels_on_gpu
from gan.distributed import process_group
from gan.nn.diff_augment import count_uniforms
from gan.runtime import Runtime
from gan.utils.random_streams import AUGMENTATION, INTERPOLATION, LATENTS, random_stream

ImagesAndLabels = tuple[
    Tensor, Tensor | None
]  # images (N, C, H, W) in [-1, 1], or latents (N, latent_dim), and labels (N,)

_SHARE_OF_MEMORY = 0.25  # of a GPU's free memory, that a set may take to lie there


@dataclass(frozen=True, eq=False)
class StepInputs:
    """What one update draws, on the run's device. B is the batch, or this rank's part of it."""

    latents: Tensor
    """float32 (B, latent_dim)."""
    fake_labels: Tensor | None = None
    """int64 (B,), of a conditional run."""
    pixels: Tensor | None = None
    """Real images, uint8 (B, C, R, R), or their numbers, int64 (B,), where the set lies on the device."""
    flips: Tensor | None = None
    """bool (B,): which real images are mirrored."""
    real_labels: Tensor | None = None
    """int64 (B,), of a conditional run."""
    share: Tensor | None = None
    """float32 (B, 1, 1, 1) in [0, 1]: where the gradient penalty stands between real and fake images."""
    changes: Tensor | None = None
    """float32 (B, 3, n) in [0, 1): for `gan.nn.diff_augment`, of D's real and fake images and of G's."""

    def tensors(self) -> list[Tensor]:
        """All that is there, in a fixed order."""
        return [value for item in fields(self) if (value := getattr(self, item.name)) is not None]

    def clone(self) -> StepInputs:
        """A copy that shares no memory."""
        copies: dict[str, Any] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            copies[item.name] = None if value is None else value.clone()
        return StepInputs(**copies)


class InputSampler:
    """Draws the inputs of any step of a run, and makes images of them.

    Each of several ranks draws for all, and takes what is its own.

    On a CUDA device the whole set lies there as uint8, if it takes no more than a quarter of the free memory, and
    batches are made there; what is copied for a step are numbers of images.
    """

    def __init__(self, config: TrainConfig, runtime: Runtime, data: ImageSet, classes: int) -> None:
        self.config, self.runtime, self.classes = config, runtime, classes
        self._positions = process_group.own_batch_positions(config.batch, config.accumulate)
        self.batches = Batches(data, config.batch, config.seed, flip=config.flip, positions=self._positions)
        self._labels = data.labels
        self._resident = pixels_on_gpu(data, runtime.device, share=_SHARE_OF_MEMORY)

    def draws(self, step: int, own_latents: bool) -> list[StepInputs]:
        """Of the `n_dis` updates of D in a step and, with `own_latents`, of G's update."""
        turns = [self._draw(step, turn) for turn in range(self.config.n_dis)]
        if own_latents:
            turn = self.config.n_dis
            turns.append(StepInputs(*self._latents(step, turn), changes=self._changes(step, turn)))
        return turns

    def real(self, draw: StepInputs) -> ImagesAndLabels:
        """The real images of a draw, float32 in [-1, 1], and their labels. Work of the device alone."""
        pixels = draw.pixels
        assert pixels is not None
        if self._resident is not None:
            pixels = self._resident.index_select(0, pixels)  # (B,) -> (B, C, R, R)
        if draw.flips is not None:
            pixels = torch.where(draw.flips[:, None, None, None], pixels.flip(3), pixels)
        return to_float(pixels).contiguous(memory_format=torch.channels_last), draw.real_labels

    def _draw(self, step: int, turn: int) -> StepInputs:
        number = step * self.config.n_dis + turn
        samples = self.batches.samples(number)
        pixels = samples.indices if self._resident is not None else self.batches.pixels(number)
        labels = self._labels[samples.indices] if self.classes and self._labels is not None else None
        share = None
        if self.config.gradient_penalty:
            stream = random_stream(self.config.seed, INTERPOLATION, step, turn)
            share = self._own(torch.rand(self.config.batch, 1, 1, 1, generator=stream))
        latents, fake_labels = self._latents(step, turn)
        return StepInputs(
            latents,
            fake_labels,
            self.runtime.send(pixels),
            None if samples.flips is None else self.runtime.send(samples.flips),
            None if labels is None else self.runtime.send(labels),
            share,
            self._changes(step, turn),
        )

    def _changes(self, step: int, turn: int) -> Tensor | None:
        if not self.config.augment:
            return None
        stream = random_stream(self.config.seed, AUGMENTATION, step, turn)
        return self._own(torch.rand(self.config.batch, 3, count_uniforms(self.config.augment), generator=stream))

    def _latents(self, step: int, turn: int) -> ImagesAndLabels:
        stream = random_stream(self.config.seed, LATENTS, step, turn)
        z = self._own(torch.randn(self.config.batch, self.config.latent_dim, generator=stream))
        if not self.classes:
            return z, None
        return z, self._own(torch.randint(self.classes, (self.config.batch,), generator=stream))

    def _own(self, drawn: Tensor) -> Tensor:
        """This rank's part of what was drawn for a whole batch, on the device."""
        return self.runtime.send(drawn if self._positions is None else drawn[self._positions])
