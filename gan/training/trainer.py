"""The networks of a run, their optimizers, the position, and what the log and the checkpoints contain.

Batches and latents are functions of (seed, step), so a run that was killed and resumed ends with the same bytes as one
that was not. Several ranks share each batch; normalization, gradients and logged means cover the whole batch.

The step itself is `gan.training.gan_step`, the loop around it `gan.training.loop`.
"""

import time
from typing import Any

import torch

from gan.config.plugins import file_entry
from gan.config.train_config import TrainConfig
from gan.data.image_set import ImageSet
from gan.distributed import data_parallel
from gan.distributed.sync_batch_norm import synchronize_batch_statistics
from gan.errors import UsageError
from gan.models import build_discriminator, build_generator
from gan.models.freezing import freeze_blocks
from gan.norm import sigmas
from gan.runtime import Runtime
from gan.training import cuda_graph
from gan.training.ema import ExponentialMovingAverage
from gan.training.gan_step import GANStep
from gan.training.health import FLAG_MEANINGS, Health, require_finite_means
from gan.training.meters import MetricMeans
from gan.training.optimizers import adam, set_beta2, set_rate
from gan.training.schedules import Schedules
from gan.training.step_inputs import InputSampler
from gan.utils import environment
from gan.utils.progress import warn
from gan.utils.written_by import does_not_fit, load_error_text


class Trainer:
    """The networks, their optimizers and the position of a run.

    Raises:
        UsageError: the batch is larger than the set, the ranks cannot share it, a conditional run has no labels, or D
            has fewer blocks than are to be frozen.
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
        freeze_blocks(self.discriminator, config.freeze_d)
        self.ema = ExponentialMovingAverage(self.generator, config.ema_half_life, config.ema_rampup)
        captured = cuda_graph.is_captured(config, runtime)
        self.g_optimizer = adam(self.generator, config.g_lr, config, runtime.device, captured=captured)
        self.d_optimizer = adam(self.discriminator, config.d_lr, config, runtime.device, captured=captured)
        self.schedules = Schedules(config)
        if runtime.ranks > 1:
            synchronize_batch_statistics(self.generator)
            synchronize_batch_statistics(self.discriminator)
        self.step = 0
        self.seconds = 0.0
        """Time spent in steps, over all resumes."""
        self.health = Health()
        self.metrics = MetricMeans(runtime.device)
        self._last_logged = (0, 0.0)  # images and seconds
        self._defer_finite_check = runtime.device.type == "cuda"
        self.gan_step = GANStep(
            config,
            runtime,
            self.inputs,
            (self.generator, self.discriminator),
            (self.g_optimizer, self.d_optimizer),
            self.metrics,
            check_finite=not self._defer_finite_check,
        )
        self.plugins = config.plugin_records()
        """Records of the user's own code; see `gan.config.plugins`."""
        self._run_step = cuda_graph.capture_if_possible(self.gan_step, config, runtime)

    @property
    def images_seen(self) -> int:
        """Number of real images that D was trained on so far."""
        return self.step * self.config.n_dis * self.config.batch

    def train_step(self) -> None:
        """Update D `n_dis` times and G once.

        Raises:
            gan.errors.Diverged: a loss or gradient is not finite; the networks must not be saved. On CUDA, where the
                check would wait for the device, `log_entry` and `state` raise it.
        """
        began = time.perf_counter()
        values = self._set_scheduled()
        self._run_step(self.step, self.inputs.step_inputs(self.step, own_latents=not self.gan_step.reuses_latents))
        self.step += 1
        self.metrics.steps += 1
        per_step = self.config.n_dis * self.config.batch
        self.ema.update(self.generator, per_step, self.images_seen, values.get("ema_half_life"))
        self.seconds += time.perf_counter() - began

    def _set_scheduled(self) -> dict[str, float]:
        """Set all values that change for the next step; returns those of `--schedule-images`."""
        config = self.config
        if config.decay != "none":
            remaining = 1 - self.step / config.steps
            set_rate(self.g_optimizer, config.g_lr * remaining)
            set_rate(self.d_optimizer, config.d_lr * remaining)
        values = self.schedules.at(self.images_seen)
        for optimizer, rate in ((self.g_optimizer, "g_lr"), (self.d_optimizer, "d_lr")):
            if rate in values:
                set_rate(optimizer, values[rate])
            if "beta2" in values:
                set_beta2(optimizer, values["beta2"])
        self.gan_step.set_scheduled(values)
        return values

    def synchronize(self) -> None:
        """Wait for the device to finish its steps, and count the wait as time spent in steps."""
        began = time.perf_counter()
        environment.synchronize(self.runtime.device)
        self.seconds += time.perf_counter() - began

    def _metric_means(self) -> dict[str, float]:
        """Means over the steps since the last log entry and all ranks; raises Diverged if one is not finite."""
        self.synchronize()
        means = self.metrics.means()
        if self._defer_finite_check:
            require_finite_means(means, self.step - self.metrics.steps + 1, self.step)
        return means

    def log_entry(self) -> dict[str, Any]:
        """One line of the log: means since the last one, scheduled or adapted values, all σ, health flags."""
        means = self._metric_means()
        for name in self.health.update(self.metrics.steps, means["d_accuracy"], means["variety"]):
            warn(f"step {self.step}: {name}: {FLAG_MEANINGS[name]}")
        self.metrics.clear()
        (images, seconds), self._last_logged = self._last_logged, (self.images_seen, self.seconds)
        last = self.schedules.at((self.step - 1) * self.config.n_dis * self.config.batch)
        if self.gan_step.adaptive:
            last["augment_p"] = self.gan_step.adaptive.p.item()
        return {
            "step": self.step,
            "images": self.images_seen,
            "seconds": round(self.seconds, 3),
            "images_per_second": round((self.images_seen - images) / (self.seconds - seconds), 1),
            **means,
            **({"scheduled": last} if last else {}),
            "sigma": sigmas(self.discriminator),
            "health": list(self.health.flagged),
        }

    def state(self) -> dict[str, Any]:
        """Everything that a resumed run needs, for `gan.runs.checkpoint.save_checkpoint`.

        Raises:
            gan.errors.Diverged: a loss or gradient was not finite (on CUDA this is only checked here and for the log).
            UserError: ranks have different weights.
        """
        if self._defer_finite_check:
            self._metric_means()
        if self.runtime.ranks > 1:
            data_parallel.require_equal_weights(
                generator=self.generator, discriminator=self.discriminator, average=self.ema.network
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
            "average": self.ema.network.state_dict(),
            "g_optimizer": self.g_optimizer.state_dict(),
            "d_optimizer": self.d_optimizer.state_dict(),
            "rng": torch.get_rng_state(),
            "threads": torch.get_num_threads(),
            "health": self.health.state(),
            "noted": self.metrics.state(),
            **({"adaptive": self.gan_step.adaptive.state_dict()} if self.gan_step.adaptive else {}),
            **file_entry(self.plugins),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint of the same run; a UserError if it is of other networks or another version."""
        try:
            self.generator.load_state_dict(state["generator"])
            self.discriminator.load_state_dict(state["discriminator"])
            self.ema.network.load_state_dict(state["average"])
            for optimizer, name in ((self.g_optimizer, "g_optimizer"), (self.d_optimizer, "d_optimizer")):
                # The config decides the hyperparameters, and the device the implementation; neither is loaded.
                optimizer.load_state_dict({**state[name], "param_groups": optimizer.state_dict()["param_groups"]})
            self.health = Health(**state["health"])
            self.step, self.seconds = state["step"], state["seconds"]
            self._last_logged = (self.images_seen, self.seconds)
            self.metrics.load_state(state["noted"])
            if self.gan_step.adaptive:
                self.gan_step.adaptive.load_state_dict(state["adaptive"])
            torch.set_rng_state(state["rng"])
        except (KeyError, RuntimeError, ValueError, TypeError) as error:
            reason = f"it is of other networks, or their state has changed: {load_error_text(error)}"
            raise does_not_fit("the checkpoint", reason, state, "train again under another name") from error
