"""The networks of a run, their optimizers, and one training step. The loop around it is `gan.loop`.

A step is `n_dis` updates of the discriminator D and one of the generator G. Batches and latents are functions of
(seed, step), so a run that was killed and resumed ends with the bytes of one that was not. Several ranks share each
batch and each draw of latents; what is normalized, averaged and logged is that of all of them.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from gan import exchange, ranks, replicas
from gan.config import TrainConfig
from gan.data import Batches, ImageSet
from gan.ema import MovingAverage
from gan.errors import UsageError, UserError
from gan.health import MEANINGS, Health, gradient_norm, spread
from gan.losses import LOSSES, squared_gradient, unit_gradient
from gan.models import build_discriminator, build_generator
from gan.norm import power_iterate, sigmas
from gan.progress import say
from gan.runtime import INTERPOLATION, LATENTS, Runtime, random_stream

# Losses whose generator step can judge the fake batch that D has just learned from, as DCGAN does.
_SHARED_FAKE = ("logistic", "hinge")

Images = tuple[Tensor, Tensor | None]  # images (N, C, H, W) in [-1, 1], or latents (N, latent_dim), and labels (N,)


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
        self.positions = ranks.own_positions(config.batch, config.accumulate)
        self.batches = Batches(data, config.batch, config.seed, flip=config.flip, positions=self.positions)
        self.generator = runtime.place(build_generator(config, self.classes))
        self.discriminator = runtime.place(build_discriminator(config, self.classes))
        self.average = MovingAverage(self.generator, config.ema_half_life, config.ema_rampup)
        self.g_optimizer = self._adam(self.generator, config.g_lr)
        self.d_optimizer = self._adam(self.discriminator, config.d_lr)
        if runtime.ranks > 1:
            replicas.share_statistics(self.generator)
            replicas.share_statistics(self.discriminator)
            self.g_gradients = replicas.GradientMean(self.generator, config.accumulate)
            self.d_gradients = replicas.GradientMean(self.discriminator, config.accumulate)
        self.loss = LOSSES[config.loss]
        self.reuses_latents = config.n_dis == 1 and config.loss in _SHARED_FAKE
        self.shares_fake = self.reuses_latents and config.accumulate == 1  # or the graph would hold the whole batch
        self.step = 0
        self.seconds = 0.0  # spent in steps, over all resumes
        self._logged = (0, 0.0)  # images and seconds at the last log entry
        self.health = Health()
        self._noted: dict[str, list[Tensor]] = defaultdict(list)

    def _adam(self, network: nn.Module, rate: float) -> torch.optim.Adam:
        betas = (self.config.beta1, self.config.beta2)
        return torch.optim.Adam(network.parameters(), rate, betas, fused=self.runtime.device.type in ("cpu", "cuda"))

    @property
    def images_seen(self) -> int:
        """Real images that D has been shown so far."""
        return self.step * self.config.n_dis * self.config.batch

    def train_step(self) -> None:
        """Update D `n_dis` times and G once.

        Raises:
            gan.health.Diverged: a loss or gradient is not finite; the networks are then not to be saved.
        """
        began = time.monotonic()
        self._set_learning_rates()
        for turn in range(self.config.n_dis):
            real = self._real_batch(turn)
            latents = self._latents(turn)
            with torch.set_grad_enabled(self.shares_fake):
                fake = self._generate(latents)
            self._update_discriminator(turn, real, (fake.detach(), latents[1]))
        latents = latents if self.reuses_latents else self._latents(self.config.n_dis)
        self._update_generator(real, latents, fake if self.shares_fake else None)
        self.step += 1
        self.average.update(self.generator, self.config.n_dis * self.config.batch, self.images_seen)
        self.seconds += time.monotonic() - began

    def _update_discriminator(self, turn: int, real: Images, fake: Images) -> None:
        config = self.config
        power_iterate(self.discriminator)
        self.d_optimizer.zero_grad()
        total = torch.zeros((), device=self.runtime.device)
        for part, (x, g) in enumerate(zip(self._parts(real), self._parts(fake), strict=True)):
            x[0].requires_grad_(config.r1 > 0)
            g[0].requires_grad_(config.r2 > 0)
            real_logits, fake_logits = self._judge(x, g)
            loss = self.loss.discriminator(real_logits, fake_logits)
            self._note(loss_d=loss, d_real=real_logits.mean(), d_fake=fake_logits.mean())
            self._note(d_accuracy=(real_logits > fake_logits).float().mean())
            if config.r1:
                loss = loss + config.r1 / 2 * squared_gradient(real_logits, x[0])
            if config.r2:
                loss = loss + config.r2 / 2 * squared_gradient(fake_logits, g[0])
            if config.gradient_penalty:
                stream = random_stream(config.seed, INTERPOLATION, self.step, turn, part)
                loss = loss + config.gradient_penalty * self._interpolation_penalty(x, g[0], stream)
            (loss / config.accumulate).backward()
            total += loss.detach() / config.accumulate
        if self.runtime.ranks > 1:
            self.d_gradients.wait()
        norm = gradient_norm("the discriminator", self.discriminator, total, self.step + 1)
        self.d_optimizer.step()
        self._note(grad_norm_d=norm)

    def _update_generator(self, real: Images, latents: Images, fake: Tensor | None = None) -> None:
        """Update G on new latents, or on the `fake` images of these latents where their graph is still there."""
        config = self.config
        needs_real = self.loss.uses_real or config.d_batch == "joint"
        self.discriminator.requires_grad_(False)
        self.g_optimizer.zero_grad()
        total = torch.zeros((), device=self.runtime.device)
        for x, z in zip(self._parts(real), self._parts(latents), strict=True):
            images = self._generate(z) if fake is None else fake
            g = (images, z[1])
            if needs_real:
                loss = self.loss.generator(*self._judge(x, g))
            else:
                fake_logits = self._logits(*g)
                loss = self.loss.generator(fake_logits, fake_logits)
            (loss / config.accumulate).backward()
            total += loss.detach() / config.accumulate
        self.discriminator.requires_grad_(True)
        if self.runtime.ranks > 1:
            self.g_gradients.wait()
        norm = gradient_norm("the generator", self.generator, total, self.step + 1)
        self.g_optimizer.step()
        variety = spread(images.detach()) / spread(real[0]).clamp(min=1e-6)
        self._note(loss_g=total, grad_norm_g=norm, variety=variety)

    def _real_batch(self, turn: int) -> Images:
        batch = self.batches.at(self.step * self.config.n_dis + turn)
        images = batch.images.to(self.runtime.device, memory_format=torch.channels_last)
        return images, batch.labels.to(self.runtime.device) if self.classes and batch.labels is not None else None

    def _latents(self, turn: int) -> Images:
        """Latents and labels of a turn of this step, this rank's of all; turn `n_dis` is the generator's own."""
        config, device = self.config, self.runtime.device
        stream = random_stream(config.seed, LATENTS, self.step, turn)
        own = slice(None) if self.positions is None else self.positions
        z = torch.randn(config.batch, config.latent_dim, generator=stream)[own].to(device)
        if not self.classes:
            return z, None
        return z, torch.randint(self.classes, (config.batch,), generator=stream)[own].to(device)

    def _generate(self, latents: Images) -> Tensor:
        with self.runtime.autocast():
            return self.generator(*latents).float()

    def _logits(self, images: Tensor, labels: Tensor | None) -> Tensor:
        with self.runtime.autocast():
            return self.discriminator(images, labels).float()

    def _judge(self, real: Images, fake: Images) -> tuple[Tensor, Tensor]:
        """Logits (N,) of real and of fake images, which D sees as two batches or as one."""
        if self.config.d_batch == "separate":
            return self._logits(*real), self._logits(*fake)
        labels = None if real[1] is None or fake[1] is None else torch.cat([real[1], fake[1]])
        real_logits, fake_logits = self._logits(torch.cat([real[0], fake[0]]), labels).chunk(2)
        return real_logits, fake_logits

    def _interpolation_penalty(self, real: Images, fake: Tensor, stream: torch.Generator) -> Tensor:
        shares = torch.rand(len(fake) * self.runtime.ranks, 1, 1, 1, generator=stream)  # of all ranks
        share = shares.chunk(self.runtime.ranks)[self.runtime.rank].to(fake.device)
        between = torch.lerp(real[0].detach(), fake.detach(), share).requires_grad_()
        return unit_gradient(self._logits(between, real[1]), between)

    def _parts(self, batch: Images) -> Iterator[Images]:
        """The parts of a batch that are accumulated."""
        images, labels = batch
        size = len(images) // self.config.accumulate
        for start in range(0, len(images), size):
            part = slice(start, start + size)
            yield images[part], None if labels is None else labels[part]

    def _set_learning_rates(self) -> None:
        config = self.config
        share = 1 - self.step / config.steps if config.decay == "linear" else 1.0
        for optimizer, rate in ((self.g_optimizer, config.g_lr), (self.d_optimizer, config.d_lr)):
            for group in optimizer.param_groups:
                group["lr"] = rate * share

    def _note(self, **values: Tensor) -> None:
        """Keep numbers for the log on the device, so that reading them waits for no step."""
        for name, value in values.items():
            self._noted[name].append(value.detach())

    def log_entry(self) -> dict[str, Any]:
        """One line of the log: means since the last one, over all ranks; σ of every layer; health flags."""
        steps = len(self._noted["loss_g"])
        means = torch.stack([torch.stack(values).mean() for values in self._noted.values()])
        entry: dict[str, Any] = dict(zip(self._noted, exchange.mean(means).tolist(), strict=True))
        self._noted.clear()
        for name in self.health.update(steps, entry["d_accuracy"], entry["variety"]):
            say(f"step {self.step}: {name}: {MEANINGS[name]}")
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
        """All that a resumed run needs, for `gan.checkpoint.save`.

        Raises:
            UserError: ranks hold different weights.
        """
        if self.runtime.ranks > 1:
            averaged = self.average.network
            replicas.require_same(generator=self.generator, discriminator=self.discriminator, average=averaged)
        noted = exchange.gathered({name: torch.stack(values).cpu() for name, values in self._noted.items()})
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
            "health": self.health.state(),
            # (n,), or (R, n) of R ranks: each goes on with its own
            "noted": {name: torch.stack([own[name] for own in noted]).squeeze(0) for name in self._noted},
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
            self.g_optimizer.load_state_dict(state["g_optimizer"])
            self.d_optimizer.load_state_dict(state["d_optimizer"])
            self.health = Health(**state["health"])
            self.step, self.seconds = state["step"], state["seconds"]
            self._logged = (self.images_seen, self.seconds)
            for name, values in state["noted"].items():
                same = values.dim() == 2 and len(values) == self.runtime.ranks
                values = values[self.runtime.rank] if same else values.mean(0) if values.dim() == 2 else values
                self._noted[name] = list(values.to(self.runtime.device))
            torch.set_rng_state(state["rng"])
        except (KeyError, RuntimeError, ValueError, TypeError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"the checkpoint was written by a run of other networks ({reason})") from error
