"""Inputs of a training step: images, labels, latents and random numbers, all functions of (seed, step)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gan.config import plugins
from gan.config.choices import AUGMENTATIONS, LOSSES
from gan.config.train_config import TrainConfig
from gan.data.batches import Batches, to_float
from gan.data.device_resident import pixels_on_gpu
from gan.data.image_set import ImageSet
from gan.distributed import process_group
from gan.nn.diff_augment import check_augmentation, count_gates, count_uniforms
from gan.runtime import Runtime
from gan.utils.random_streams import AUGMENTATION, INTERPOLATION, LATENTS, random_stream

# Images (N, C, H, W) in [-1, 1], or latents (N, latent_dim), and labels (N,).
ImagesAndLabels = tuple[Tensor, Tensor | None]

_SHARE_OF_MEMORY = 0.25  # largest share of a GPU's free memory that the image set may take


@dataclass(frozen=True, eq=False)
class StepInputs:
    """Inputs of one update, on the run's device. B is the batch size, or that of this rank's part."""

    latents: Tensor
    """float32 (B, latent_dim)."""
    fake_labels: Tensor | None = None
    """int64 (B,), of a conditional run."""
    pixels: Tensor | None = None
    """Real images, uint8 (B, C, R, R), or their indices, int64 (B,), if the image set is on the device."""
    flips: Tensor | None = None
    """bool (B,): True for real images that are mirrored."""
    real_labels: Tensor | None = None
    """int64 (B,), of a conditional run."""
    interpolation: Tensor | None = None
    """float32 (B, 1, 1, 1) in [0, 1]: interpolation weight of the gradient penalty, 0 at the real images."""
    augmentation: Tensor | None = None
    """float32 (B, 3, n) in [0, 1): uniforms of `gan.nn.diff_augment` for D's real, D's fake and G's images."""

    def tensors(self) -> list[Tensor]:
        """All tensors that are not None, in a fixed order."""
        return [value for value in vars(self).values() if value is not None]

    def clone(self) -> StepInputs:
        """A deep copy."""
        copies = {name: value.clone() for name, value in vars(self).items() if value is not None}
        return replace(self, **copies)


class InputSampler:
    """Draws the inputs of any step of a run, and makes the batches of real images.

    Each of several ranks draws the whole batch and takes its own part.

    If the whole image set takes no more than a quarter of a CUDA device's free memory, it is copied there as uint8 and
    batches are made there; only indices are copied for each step.
    """

    def __init__(self, config: TrainConfig, runtime: Runtime, data: ImageSet, classes: int) -> None:
        self.config, self.runtime, self.classes = config, runtime, classes
        self.augmentations = [AUGMENTATIONS.load(name) for name in config.augment]
        for name, augmentation in zip(config.augment, self.augmentations, strict=True):
            if name not in AUGMENTATIONS.names:
                with plugins.reported_errors(f"--augment {name}", "function(images, uniform numbers)"):
                    check_augmentation(augmentation, config.channels, config.resolution)
        self._positions = process_group.own_batch_positions(config.batch, config.accumulate)
        self.batches = Batches(data, config.batch, config.seed, flip=config.flip, positions=self._positions)
        self._labels = data.labels
        self._pairs = classes > 0 and LOSSES.load(config.loss).uses_real
        self._resident = pixels_on_gpu(data, runtime.device, share=_SHARE_OF_MEMORY)

    def step_inputs(self, step: int, own_latents: bool) -> list[StepInputs]:
        """Inputs of the `n_dis` updates of D in a step and, with `own_latents`, of G's update.

        For a loss that compares pairs of a real and a generated image, both have the same label, as in R3GAN's code.
        """
        updates = [self._d_inputs(step, update) for update in range(self.config.n_dis)]
        if own_latents:
            last = self.config.n_dis
            latents, labels = self._latents(step, last)
            labels = updates[-1].real_labels if self._pairs else labels
            updates.append(StepInputs(latents, labels, augmentation=self._augmentation(step, last)))
        return updates

    def real(self, inputs: StepInputs) -> ImagesAndLabels:
        """The real images of an update, float32 in [-1, 1], and their labels. Works on the device alone."""
        pixels = inputs.pixels
        assert pixels is not None
        if self._resident is not None:
            pixels = self._resident.index_select(0, pixels)  # (B,) -> (B, C, R, R)
        if inputs.flips is not None:
            pixels = torch.where(inputs.flips[:, None, None, None], pixels.flip(3), pixels)
        return to_float(pixels).contiguous(memory_format=torch.channels_last), inputs.real_labels

    def _d_inputs(self, step: int, update: int) -> StepInputs:
        number = step * self.config.n_dis + update
        samples = self.batches.samples(number)
        pixels = samples.indices if self._resident is not None else self.batches.pixels(number)
        labels = self._labels[samples.indices] if self.classes and self._labels is not None else None
        interpolation = None
        if self.config.gradient_penalty:
            stream = random_stream(self.config.seed, INTERPOLATION, step, update)
            interpolation = self._own(torch.rand(self.config.batch, 1, 1, 1, generator=stream))
        real_labels = None if labels is None else self.runtime.send(labels)
        latents, fake_labels = self._latents(step, update)
        return StepInputs(
            latents,
            real_labels if self._pairs else fake_labels,
            self.runtime.send(pixels),
            None if samples.flips is None else self.runtime.send(samples.flips),
            real_labels,
            interpolation,
            self._augmentation(step, update),
        )

    def _augmentation(self, step: int, update: int) -> Tensor | None:
        if not self.config.augment:
            return None
        stream = random_stream(self.config.seed, AUGMENTATION, step, update)
        batch = self.config.batch
        uniforms = torch.rand(batch, 3, count_uniforms(self.augmentations), generator=stream)
        if self.config.gates_augmentations():  # drawn last, so that the strengths are those of --augment-p 1
            gates = torch.rand(batch, 3, count_gates(self.augmentations), generator=stream)
            uniforms = torch.cat([uniforms, gates], 2)
        return self._own(uniforms)

    def _latents(self, step: int, update: int) -> ImagesAndLabels:
        stream = random_stream(self.config.seed, LATENTS, step, update)
        z = self._own(torch.randn(self.config.batch, self.config.latent_dim, generator=stream))
        if not self.classes:
            return z, None
        return z, self._own(torch.randint(self.classes, (self.config.batch,), generator=stream))

    def _own(self, batch: Tensor) -> Tensor:
        """This rank's part of a whole batch, on the device."""
        return self.runtime.send(batch if self._positions is None else batch[self._positions])
