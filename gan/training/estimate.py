"""Estimate the time, memory and disk of a run from a few steps on noise."""

import io
import time
from dataclasses import dataclass

import torch

from gan.config.train_config import TrainConfig
from gan.data.image_set import ImageSet
from gan.distributed import collectives, process_group
from gan.runtime import Runtime
from gan.training import cuda_graph
from gan.training.trainer import Trainer
from gan.utils.peak_memory import peak_memory_bytes, reset_peak_memory

_TIMED_STEPS = 3  # after a first one, at least
_TIMED_CUDA_STEPS = 20  # after those that capture a CUDA graph, at least
_LONG = 30.0  # seconds of the timed steps beyond which they are extrapolated from small batches
_LONG_CYCLE = 32  # steps; penalties in fewer of them hardly count
_LONG_TRIAL = 5.0  # seconds of a first step beyond which it is the only one of a small batch
_SMALL = 2  # images of a small batch, for each rank


@dataclass(frozen=True)
class Estimate:
    """What a run will take, without its images and scores."""

    step_seconds: float
    memory: int
    """Peak memory, bytes; 0 if the system does not report it."""
    checkpoint: int
    """Size of a checkpoint, bytes."""
    extrapolated: bool
    """True if the time and memory of a step are extrapolated from small batches."""

    def disk(self, config: TrainConfig) -> tuple[int, int]:
        """The number of checkpoints that a run keeps, and their bytes."""
        intervals = [every for every in (config.checkpoint_every, config.report_every) if every]
        written = {step for every in intervals for step in range(every, config.steps, every)} | {config.steps}
        count = min(len(written), config.keep + (config.report_every > 0))
        return count, count * self.checkpoint


def noise_images(config: TrainConfig, classes: int) -> ImageSet:
    """Random images in place of a run's own, labelled with all classes if there are any."""
    count = max(config.batch, 64, 2 * _SMALL * process_group.world_size())
    shape = (count, config.channels, config.resolution, config.resolution)
    labels = torch.arange(shape[0]) % classes if classes else None
    names = [str(number) for number in range(classes)]
    return ImageSet.of(torch.randint(0, 256, shape, dtype=torch.uint8), labels, names, name=config.data)


def estimate_run(config: TrainConfig, runtime: Runtime, images: ImageSet) -> Estimate:
    """Measure the steps of a run. Several ranks call it together.

    On a CPU, steps that would take longer than _LONG are not run: their time is extrapolated from small batches with
    one and two updates of D, and their memory from two small batches.
    """
    if runtime.device.type == "cuda":
        trainer = Trainer(config, runtime, images)
        # The first step takes long: cuDNN searches for the fastest algorithms.
        _seconds_per_step(trainer, 1 + cuda_graph.WARM_UP)
        return _measured(trainer, _whole_cycles(config, _TIMED_CUDA_STEPS))
    small = _SMALL * runtime.ranks

    def trial(batch: int, n_dis: int) -> tuple[float, int, int]:
        fakes = "reused" if config.reuses_fakes() else "new"
        part = config.replace({"batch": batch, "n_dis": n_dis, "accumulate": 1, "g_fakes": fakes})
        reset_peak_memory(runtime.device)
        trainer = Trainer(part, runtime, images)
        seconds, steps = _seconds_per_step(trainer, 1), _whole_cycles(part, 1)
        if collectives.on_rank0(lambda: steps > 1 or seconds < _LONG_TRIAL):
            seconds = _seconds_per_step(trainer, steps)
        return seconds, peak_memory_bytes(runtime.device), _checkpoint_bytes(trainer)

    once, memory, checkpoint = trial(small, 1)
    doubled, memory_of_doubled, _ = trial(2 * small, 1)
    growth = max(doubled - once, 0.0) / small  # seconds per image
    whole = once + growth * (config.batch - small)  # of a step with one update of D
    timed = _whole_cycles(config, _TIMED_STEPS)
    if collectives.on_rank0(lambda: whole * config.n_dis * timed < _LONG):
        reset_peak_memory(runtime.device)
        trainer = Trainer(config, runtime, images)
        _seconds_per_step(trainer, 1)
        return _measured(trainer, timed)
    d_share = 0.0  # of a step with one update of D
    if config.n_dis > 1:
        twice, _, _ = trial(small, 2)
        d_share = max(twice - once, 0.0) / once
    per_image = max(memory_of_doubled - memory, 0) // small
    return Estimate(
        step_seconds=whole * (1 + d_share * (config.n_dis - 1)),
        memory=memory + per_image * max(0, config.batch // config.accumulate - small),
        checkpoint=checkpoint,
        extrapolated=True,
    )


def _whole_cycles(config: TrainConfig, least: int) -> int:
    """At least so many steps, with penalties in their share of the updates, unless these are rarer than _LONG_CYCLE."""
    cycle = min(config.penalty_cycle(), _LONG_CYCLE)
    return -(-least // cycle) * cycle


def _measured(trainer: Trainer, steps: int) -> Estimate:
    seconds = _seconds_per_step(trainer, steps)
    return Estimate(seconds, peak_memory_bytes(trainer.runtime.device), _checkpoint_bytes(trainer), extrapolated=False)


def _seconds_per_step(trainer: Trainer, steps: int) -> float:
    began = time.perf_counter()
    for _ in range(steps):
        trainer.train_step()
    trainer.log_entry()  # waits for the device
    return (time.perf_counter() - began) / steps


class _ByteCounter(io.RawIOBase):
    """Counts the bytes that are written to it."""

    count = 0

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        size = memoryview(data).nbytes  # type: ignore[arg-type]
        self.count += size
        return size


def _checkpoint_bytes(trainer: Trainer) -> int:
    file = _ByteCounter()
    torch.save(trainer.state(), file)  # type: ignore[arg-type]  # an IO of which only `write` is used
    return file.count
