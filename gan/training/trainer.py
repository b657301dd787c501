"""The networks of a run, their optimizers, and one training step. The loop around it is `gan.training.loop`.

A step is `n_dis` updates of the discriminator D and one of the generator G. Batches and latents are functions of
(seed, step), so a run that was killed and resumed ends with the bytes of one that was not. Several ranks share each
batch; what is normalized, averaged and logged is that of all of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gan.config.train_config import TrainConfig
from gan.data import ImageSet
from gan.distributed import data_parallel
from gan.distributed.sync_batch_norm import synchronize_batch_statistics
from gan.errors import UsageError, UserError
from gan.models import build_discriminator, build_generator
from gan.nn.diff_augment import apply_augmentations
from gan.nn.losses import LOSSES, squared_gradient, unit_gradient
from gan.norm import power_iterate, sigmas
from gan.runtime import Runtime
from gan.training import cuda_graph
from gan.training.ema import ExponentialMovingAverage
from gan.training.health import FLAG_MEANINGS, Health, gradient_norm, require_finite, require_finite_means, variety
from gan.training.meters import MetricMeans
from gan.training.optimizers import adam, frozen, set_rate
from gan.training.step_inputs import ImagesAndLabels, InputSampler, StepInputs
from gan.utils import environment
from gan.utils.progress import say

# Losses whose generator step can judge the fake batch that D has just learned from, as DCGAN does.
_SHARED_FAKE = ("logistic", "hinge")


class Trainer:
    """The networks, their optimizers and the position of a run.

    Raises:
        UsageError: the batch is larger than the set, the ranks cannot share it, or a conditional run has no labels.
    """

    def __init__(self, config: TrainConfig, runtime: Runtime, data: ImageSet) -> None:
        if config.conditional and data.labels is None:
            raise UsageError(
                f"--conditional: {data.name} has no labels; put each class into a sub-folder or add a dataset.json"
            )
        self.config = config
        self.runtime = runtime
        self.data = data
        self.classes = len(data.classes) if config.conditional else 0
        self.inputs = InputSampler(config, runtime, data, self.classes)
        self.generator = runtime.place(build_generator(config, self.classes))
        self.discriminator = runtime.place(build_discriminator(config, self.classes))
        self.average = ExponentialMovingAverage(self.generator, config.ema_half_life, config.ema_rampup)
        self.g_optimizer = adam(self.generator, config.g_lr, config, runtime.device)
        self.d_optimizer = adam(self.discriminator, config.d_lr, config, runtime.device)
        if runtime.ranks > 1:
            synchronize_batch_statistics(self.generator)
            synchronize_batch_statistics(self.discriminator)
            self.g_gradients = data_parallel.GradientAverager(self.generator, config.accumulate)
            self.d_gradients = data_parallel.GradientAverager(self.discriminator, config.accumulate)
        self.loss = LOSSES[config.loss]
        self.reuses_latents = config.n_dis == 1 and config.loss in _SHARED_FAKE
        self.shares_fake = self.reuses_latents and config.accumulate == 1  # or the graph would hold the whole batch
        self.step = 0
        self.seconds = 0.0  # spent in steps, over all resumes
        self._logged = (0, 0.0)  # images and seconds at the last log entry
        self.health = Health()
        self._noted = MetricMeans(runtime.device)
        self._looks_late = runtime.device.type == "cuda"
        self._update = self._as_graph() if runtime.device.type == "cuda" else self._update_networks

    def _as_graph(self) -> Callable[[list[StepInputs]], None]:
        """The whole step as one CUDA graph, where its settings allow that."""
        if reason := cuda_graph.why_not_captured(self.config, self.runtime.ranks):
            say(f"steps run kernel by kernel, not as one CUDA graph: {reason}")
            return self._update_networks
        return cuda_graph.CUDAGraphRunner(self._update_networks)

    @property
    def images_seen(self) -> int:
        """Real images that D has been shown so far."""
        return self.step * self.config.n_dis * self.config.batch

    def train_step(self) -> None:
        """Update D `n_dis` times and G once.

        Raises:
            gan.training.health.Diverged: a loss or gradient is not finite; the networks are then not to be saved. On
                CUDA, where looking would mean to wait, it is raised by `log_entry` and `state`.
        """
        began = time.monotonic()
        self._set_learning_rates()
        self._update(self.inputs.draws(self.step, own_latents=not self.reuses_latents))
        self.step += 1
        self._noted.steps += 1
        self.average.update(self.generator, self.config.n_dis * self.config.batch, self.images_seen)
        self.seconds += time.monotonic() - began

    def _update_networks(self, draws: list[StepInputs]) -> None:
        """A whole step on the device: nothing here waits for it or copies to it, so that it can be captured."""
        for turn, draw in enumerate(draws[: self.config.n_dis]):
            real, latents = self.inputs.real(draw), (draw.latents, draw.fake_labels)
            with torch.set_grad_enabled(self.shares_fake):
                fake = self._generate(latents)
            penalized = (self.step * self.config.n_dis + turn) % self.config.penalty_every == 0
            chance = (draw.share, draw.changes)
            self._update_discriminator(real, (fake.detach(), draw.fake_labels), chance, penalized=penalized)
        latents = (draws[-1].latents, draws[-1].fake_labels)
        self._update_generator(real, latents, draws[-1].changes, fake if self.shares_fake else None)

    def _update_discriminator(
        self,
        real: ImagesAndLabels,
        fake: ImagesAndLabels,
        chance: tuple[Tensor | None, Tensor | None],
        *,
        penalized: bool,
    ) -> None:
        """Update D.

        Args:
            chance: random numbers of the gradient penalty and of the augmentations, as in a `Draw`.
            penalized: whether this update has the gradient penalties, for itself and those that have not.
        """
        config = self.config
        r1, r2, gradient_penalty = (
            config.penalty_every * weight if penalized else 0.0
            for weight in (config.r1, config.r2, config.gradient_penalty)
        )
        power_iterate(self.discriminator)
        self.d_optimizer.zero_grad()
        total = torch.zeros((), device=self.runtime.device)
        for x, g, (share, changes) in zip(self._parts(real), self._parts(fake), self._parts(chance), strict=True):
            x[0].requires_grad_(r1 > 0)
            g[0].requires_grad_(r2 > 0)
            seen, seen_fake = self._changed(x, changes, 0), self._changed(g, changes, 1)
            real_logits, fake_logits = self._judge(seen, seen_fake)
            loss = self.loss.discriminator(real_logits, fake_logits)
            self._noted.add(
                1 / (config.n_dis * config.accumulate),
                loss_d=loss,
                d_real=real_logits.mean(),
                d_fake=fake_logits.mean(),
                d_accuracy=(real_logits > fake_logits).float().mean(),
            )
            if r1:
                loss = loss + r1 / 2 * squared_gradient(real_logits, x[0])
            if r2:
                loss = loss + r2 / 2 * squared_gradient(fake_logits, g[0])
            if gradient_penalty:
                loss = loss + gradient_penalty * self._interpolation_penalty(seen, seen_fake[0], share)
            (loss / config.accumulate).backward()
            total += loss.detach() / config.accumulate
        if self.runtime.ranks > 1:
            self.d_gradients.wait()
        norm = gradient_norm(self.discriminator)
        self._require_finite("the discriminator", self.discriminator, total, norm)
        self.d_optimizer.step()
        self._noted.add(1 / config.n_dis, grad_norm_d=norm)

    def _update_generator(
        self, real: ImagesAndLabels, latents: ImagesAndLabels, changes: Tensor | None, fake: Tensor | None = None
    ) -> None:
        """Update G on new latents, or on the `fake` images of these latents where their graph is still there."""
        config = self.config
        needs_real = self.loss.uses_real or config.d_batch == "joint"
        self.g_optimizer.zero_grad()
        total = torch.zeros((), device=self.runtime.device)
        parts = zip(self._parts(real), self._parts(latents), self._parts((changes, None)), strict=True)
        with frozen(self.discriminator):
            for x, z, (part, _) in parts:
                images = self._generate(z) if fake is None else fake
                g = self._changed((images, z[1]), part, 2)
                if needs_real:
                    loss = self.loss.generator(*self._judge(self._changed(x, part, 0), g))
                else:
                    fake_logits = self._logits(*g)
                    loss = self.loss.generator(fake_logits, fake_logits)
                (loss / config.accumulate).backward()
                total += loss.detach() / config.accumulate
        if self.runtime.ranks > 1:
            self.g_gradients.wait()
        norm = gradient_norm(self.generator)
        self._require_finite("the generator", self.generator, total, norm)
        self.g_optimizer.step()
        differ = variety(*map(data_parallel.all_gather_images, (images.detach(), real[0][-len(images) :])))
        self._noted.add(1.0, loss_g=total, grad_norm_g=norm, variety=differ)

    def _changed(self, images: ImagesAndLabels, changes: Tensor | None, which: int) -> ImagesAndLabels:
        """Images as D sees them, by the numbers of `Draw.changes` that are for them."""
        if changes is None:
            return images
        return apply_augmentations(images[0], changes[:, which], self.config.augment), images[1]

    def _generate(self, latents: ImagesAndLabels) -> Tensor:
        with self.runtime.autocast():
            return self.generator(*latents).float()

    def _logits(self, images: Tensor, labels: Tensor | None) -> Tensor:
        with self.runtime.autocast():
            return self.discriminator(images, labels).float()

    def _judge(self, real: ImagesAndLabels, fake: ImagesAndLabels) -> tuple[Tensor, Tensor]:
        """Logits (N,) of real and of fake images, which D sees as two batches or as one."""
        if self.config.d_batch == "separate":
            # Normalized weights, and their copies in bf16, are made once for both.
            with parametrize.cached(), self.runtime.autocast():
                return self._logits(*real), self._logits(*fake)
        labels = None if real[1] is None or fake[1] is None else torch.cat([real[1], fake[1]])
        real_logits, fake_logits = self._logits(torch.cat([real[0], fake[0]]), labels).chunk(2)
        return real_logits, fake_logits

    def _interpolation_penalty(self, real: ImagesAndLabels, fake: Tensor, share: Tensor) -> Tensor:
        between = torch.lerp(real[0].detach(), fake.detach(), share).requires_grad_()
        return unit_gradient(self._logits(between, real[1]), between)

    def _parts(self, batch: tuple[Tensor | None, Tensor | None]) -> Iterator[Any]:
        """The parts of a batch that are accumulated."""
        size = self.config.batch // (self.config.accumulate * self.runtime.ranks)
        for start in range(0, size * self.config.accumulate, size):
            yield tuple(None if value is None else value[start : start + size] for value in batch)

    def _set_learning_rates(self) -> None:
        config = self.config
        if config.decay == "none":
            return  # they are what the optimizers were made with
        share = 1 - self.step / config.steps
        set_rate(self.g_optimizer, config.g_lr * share)
        set_rate(self.d_optimizer, config.d_lr * share)

    def _require_finite(self, who: str, network: nn.Module, loss: Tensor, norm: Tensor) -> None:
        if not self._looks_late:
            require_finite(who, network, loss, norm, self.step + 1)

    def _means(self) -> dict[str, float]:
        """Of what was noted, over the steps since the last log entry and over all ranks.

        Raises:
            gan.training.health.Diverged: one of them is not finite.
        """
        self.settle()
        found = self._noted.means()
        if self._looks_late:
            require_finite_means(found, self.step - self._noted.steps + 1, self.step)
        return found

    def settle(self) -> None:
        """Wait for steps that the device has not done yet, in their time and not in that of what comes next."""
        began = time.monotonic()
        environment.synchronize(self.runtime.device)
        self.seconds += time.monotonic() - began

    def log_entry(self) -> dict[str, Any]:
        """One line of the log: means since the last one, σ of every layer, health flags."""
        entry = self._means()
        for name in self.health.update(self._noted.steps, entry["d_accuracy"], entry["variety"]):
            say(f"step {self.step}: {name}: {FLAG_MEANINGS[name]}")
        self._noted.clear()
        (images, seconds), self._logged = self._logged, (self.images_seen, self.seconds)
        return {
            "step": self.step,
            "images": self.images_seen,
            "seconds": round(self.seconds, 3),
            "images_per_second": round((self.images_seen - images) / (self.seconds - seconds), 1),
            **entry,
            "sigma": sigmas(self.discriminator),
            "health": list(self.health.flagged),
        }

    def state(self) -> dict[str, Any]:
        """All that a resumed run needs, for `gan.runs.checkpoint.save_checkpoint`.

        Raises:
            gan.training.health.Diverged: a loss or gradient was not finite, and there was no look at it until now.
            UserError: ranks hold different weights.
        """
        if self._looks_late:
            self._means()
        if self.runtime.ranks > 1:
            averaged = self.average.network
            data_parallel.require_equal_weights(
                generator=self.generator, discriminator=self.discriminator, average=averaged
            )
        return {
            "kind": "gan",
            "config": self.config.to_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "data": {
                "name": self.data.name,
                "fingerprint": self.data.fingerprint,
                "streamed": self.data.pixels is None,
                "classes": list(self.data.classes) if self.classes else [],
                "position": self.images_seen,
            },
            "generator": self.generator.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "average": self.average.network.state_dict(),
            "g_optimizer": self.g_optimizer.state_dict(),
            "d_optimizer": self.d_optimizer.state_dict(),
            "rng": torch.get_rng_state(),
            "threads": torch.get_num_threads(),
            "health": self.health.state(),
            "noted": self._noted.state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint of the same run.

        Raises:
            UserError: it belongs to other networks.
        """
        try:
            self.generator.load_state_dict(state["generator"])
            self.discriminator.load_state_dict(state["discriminator"])
            self.average.network.load_state_dict(state["average"])
            for optimizer, name in ((self.g_optimizer, "g_optimizer"), (self.d_optimizer, "d_optimizer")):
                # Settings are the run's own; only what a device wants of them may differ from those in the file.
                optimizer.load_state_dict({**state[name], "param_groups": optimizer.state_dict()["param_groups"]})
            self.health = Health(**state["health"])
            self.step, self.seconds = state["step"], state["seconds"]
            self._logged = (self.images_seen, self.seconds)
            self._noted.load_state(state["noted"])
            torch.set_rng_state(state["rng"])
        except (KeyError, RuntimeError, ValueError, TypeError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"the checkpoint was written by a run of other networks ({reason})") from error
