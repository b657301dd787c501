"""One GAN training step on the device: discriminator and generator updates, penalties and augmentation.

Nothing here waits for the device or copies to it (but the check for finite values, which is off on CUDA), so that a
CUDA graph can capture the whole step.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gan.config.choices import LOSSES, NORMS
from gan.config.train_config import PENALTIES, TrainConfig
from gan.distributed import data_parallel
from gan.nn.convolutions import separate_input_gradients
from gan.nn.diff_augment import apply_augmentations
from gan.nn.losses import squared_gradient, unit_gradient
from gan.norm import power_iterate
from gan.runtime import Runtime
from gan.training.ada_control import adaptive_probability
from gan.training.health import gradient_norm, require_finite, variety
from gan.training.meters import MetricMeans
from gan.training.optimizers import frozen
from gan.training.step_inputs import ImagesAndLabels, InputSampler, StepInputs

# Losses for which the sign of D(real) alone has no meaning, besides those of pairs.
_WITHOUT_BOUNDARY = ("wgan", "lsgan")


class GANStep:
    """`n_dis` updates of the discriminator D and one of the generator G.

    Args:
        inputs: turns drawn inputs into real images.
        metrics: losses, logits, gradient norms and variety of each step are added to it.
        check_finite: raise at the step whose loss or gradient is not finite, which waits for the device.
    """

    def __init__(
        self,
        config: TrainConfig,
        runtime: Runtime,
        inputs: InputSampler,
        networks: tuple[nn.Module, nn.Module],
        optimizers: tuple[torch.optim.Optimizer, torch.optim.Optimizer],
        metrics: MetricMeans,
        *,
        check_finite: bool,
    ) -> None:
        self.config = config
        self.runtime = runtime
        self.inputs = inputs
        self.generator, self.discriminator = networks
        self.g_optimizer, self.d_optimizer = optimizers
        self.metrics = metrics
        self.check_finite = check_finite
        self.norm = NORMS.load(config.norm)
        self.loss = LOSSES.load(config.loss)
        self._penalties = config.penalties()
        self._differentiates_images = bool(self._penalties or self.norm.critic)
        self._values: dict[str, float | Tensor] = {name: getattr(config, name) for name in (*PENALTIES, "augment_p")}
        # On the device, where a captured step reads the value of each replay.
        self._scheduled = {
            name: torch.tensor(start, device=runtime.device)
            for name, (start, _) in config.schedules().items()
            if name in self._values
        }
        self._values |= self._scheduled
        self.adaptive = adaptive_probability(config, runtime.device)
        """Decides the probability of the augmentations, with --ada-target."""
        if self.adaptive:
            self._values["augment_p"] = self.adaptive.p
        self.reuses_latents = config.reuses_fakes()
        # With accumulation, the graph of the whole fake batch would have to stay in memory.
        self._reuses_fake = self.reuses_latents and config.accumulate == 1
        if runtime.ranks > 1:
            self._g_gradients = data_parallel.GradientAverager(self.generator, config.accumulate)
            self._d_gradients = data_parallel.GradientAverager(self.discriminator, config.accumulate)

    def set_scheduled(self, values: Mapping[str, float]) -> None:
        """Set the scheduled weights of penalties and probability of augmentations for the next step.

        Args:
            values: by field of the config; others are ignored.
        """
        for name, value in self._scheduled.items():
            value.fill_(values[name])

    def __call__(self, step: int, inputs: list[StepInputs]) -> None:
        """Run a step.

        Args:
            step: number of steps done before; it decides which updates have penalties.
            inputs: for each update of D and, unless `reuses_latents`, for that of G.

        Raises:
            Diverged: with `check_finite`, a loss or gradient is not finite.
        """
        config = self.config
        for turn, update in enumerate(inputs[: config.n_dis]):
            real, latents = self.inputs.real(update), (update.latents, update.fake_labels)
            with torch.set_grad_enabled(self._reuses_fake):
                fake = self._generate(latents)
            penalized = (step * config.n_dis + turn) % config.penalty_every == 0
            self._update_discriminator(step, real, (fake.detach(), update.fake_labels), update, penalized=penalized)
        latents = (inputs[-1].latents, inputs[-1].fake_labels)
        self._update_generator(step, real, latents, inputs[-1].augmentation, fake if self._reuses_fake else None)

    def _update_discriminator(
        self, step: int, real: ImagesAndLabels, fake: ImagesAndLabels, update: StepInputs, *, penalized: bool
    ) -> None:
        """Update D on real and fake images; a penalized update also has the penalties of those that skip them."""
        config = self.config
        penalties = self._penalties if penalized else []
        weights = {name: config.penalty_every * self._values[name] for name in penalties}
        power_iterate(self.discriminator)
        self.d_optimizer.zero_grad()
        total = torch.zeros((), device=self.runtime.device)
        random = self._parts((update.interpolation, update.augmentation))
        for x, g, (interpolation, augmentation) in zip(self._parts(real), self._parts(fake), random, strict=True):
            x[0].requires_grad_("r1" in weights)
            g[0].requires_grad_("r2" in weights)
            d_real, d_fake = self._augment(x, augmentation, 0), self._augment(g, augmentation, 1)
            real_logits, fake_logits = self._discriminate(d_real, d_fake)
            loss = self.loss.discriminator(real_logits, fake_logits)
            self.metrics.add(
                1 / (config.n_dis * config.accumulate),
                loss_d=loss,
                d_real=real_logits.mean(),
                d_fake=fake_logits.mean(),
                d_accuracy=(real_logits > fake_logits).float().mean(),
            )
            if self.adaptive:
                relative = self.loss.uses_real or config.loss in _WITHOUT_BOUNDARY
                self.adaptive.update(real_logits, fake_logits if relative else None)
            if "r1" in weights:
                loss = loss + weights["r1"] / 2 * squared_gradient(real_logits, x[0])
            if "r2" in weights:
                loss = loss + weights["r2"] / 2 * squared_gradient(fake_logits, g[0])
            if "gradient_penalty" in weights:
                penalty = self._interpolation_penalty(d_real, d_fake[0], interpolation)
                loss = loss + weights["gradient_penalty"] * penalty
            (loss / config.accumulate).backward()
            total += loss.detach() / config.accumulate
        if self.runtime.ranks > 1:
            self._d_gradients.wait()
        norm = gradient_norm(self.discriminator)
        if self.check_finite:
            require_finite("the discriminator", self.discriminator, total, norm, step + 1)
        self.d_optimizer.step()
        self.metrics.add(1 / config.n_dis, grad_norm_d=norm)

    def _update_generator(
        self,
        step: int,
        real: ImagesAndLabels,
        latents: ImagesAndLabels,
        augmentation: Tensor | None,
        fake: Tensor | None,
    ) -> None:
        """Update G on `fake`, images of these latents with their graph, or where None on newly generated ones."""
        config = self.config
        needs_real = self.loss.uses_real or config.d_batch == "joint"
        self.g_optimizer.zero_grad()
        total = torch.zeros((), device=self.runtime.device)
        parts = zip(self._parts(real), self._parts(latents), self._parts((augmentation, None)), strict=True)
        with frozen(self.discriminator):
            for x, z, (uniforms, _) in parts:
                images = self._generate(z) if fake is None else fake
                g = self._augment((images, z[1]), uniforms, 2)
                if needs_real:
                    loss = self.loss.generator(*self._discriminate(self._augment(x, uniforms, 0), g))
                else:
                    fake_logits = self._logits(*g)
                    loss = self.loss.generator(fake_logits, fake_logits)
                (loss / config.accumulate).backward()
                total += loss.detach() / config.accumulate
        if self.runtime.ranks > 1:
            self._g_gradients.wait()
        norm = gradient_norm(self.generator)
        if self.check_finite:
            require_finite("the generator", self.generator, total, norm, step + 1)
        self.g_optimizer.step()
        spread = variety(*map(data_parallel.all_gather_images, (images.detach(), real[0][-len(images) :])))
        self.metrics.add(1.0, loss_g=total, grad_norm_g=norm, variety=spread)

    def _augment(self, images: ImagesAndLabels, uniforms: Tensor | None, use: int) -> ImagesAndLabels:
        """Augmented images: `use` is 0 for D's real, 1 for D's fake and 2 for G's images."""
        if uniforms is None:
            return images
        p = self._values["augment_p"] if self.config.gates_augmentations() else None
        return apply_augmentations(images[0], uniforms[:, use], self.inputs.augmentations, p), images[1]

    def _generate(self, latents: ImagesAndLabels) -> Tensor:
        with self.runtime.autocast():
            return self.generator(*latents).float()

    def _logits(self, images: Tensor, labels: Tensor | None) -> Tensor:
        with self.runtime.autocast(), separate_input_gradients(self._differentiates_images):
            return self.norm.logits(self.discriminator, images, labels).float()

    def _discriminate(self, real: ImagesAndLabels, fake: ImagesAndLabels) -> tuple[Tensor, Tensor]:
        """Logits (N,) of real and of fake images, passed through D as two batches or as one (`--d-batch`)."""
        if self.config.d_batch == "separate":
            # Normalized weights, and their copies in bf16, are computed once for both.
            with parametrize.cached(), self.runtime.autocast():
                return self._logits(*real), self._logits(*fake)
        labels = None if real[1] is None or fake[1] is None else torch.cat([real[1], fake[1]])
        real_logits, fake_logits = self._logits(torch.cat([real[0], fake[0]]), labels).chunk(2)
        return real_logits, fake_logits

    def _interpolation_penalty(self, real: ImagesAndLabels, fake: Tensor, weight: Tensor) -> Tensor:
        """WGAN-GP's penalty at images between real and fake ones (arXiv 1704.00028, equation 3)."""
        between = torch.lerp(real[0].detach(), fake.detach(), weight).requires_grad_()
        return unit_gradient(self._logits(between, real[1]), between)

    def _parts(self, batch: tuple[Tensor | None, Tensor | None]) -> Iterator[Any]:
        """The parts of this rank's batch whose gradients are accumulated."""
        size = self.config.batch // (self.config.accumulate * self.runtime.ranks)
        for start in range(0, size * self.config.accumulate, size):
            yield tuple(None if value is None else value[start : start + size] for value in batch)
