"""A dry run: what a run would be, and the time and memory that it would take, as measured on noise."""

from __future__ import annotations

import json
import time
from pathlib import Path

import torch

from gan.config.train_config import TrainConfig
from gan.data import DATASETS, ImageSet
from gan.data.datasets import count_classes
from gan.distributed import collectives, process_group
from gan.errors import UsageError
from gan.models import count_parameters
from gan.runs.run_dir import RunDirectory
from gan.runtime import Runtime
from gan.training import cuda_graph
from gan.training.trainer import Trainer
from gan.utils.memory import peak_memory_bytes
from gan.utils.progress import say

_STEPS = 3  # timed, after one that warms up
_REPLAYED = 20  # timed on CUDA, after those that make a graph of the step
_LONG = 10.0  # seconds of that one, after which it is the only one


def dry_run(settings: TrainConfig, runtime: Runtime, run: RunDirectory) -> None:
    """Print the settings and sizes of a run, then its time and memory. Several ranks call it together.

    Its images are only listed, and that only where their classes decide how large the networks are.

    Raises:
        UsageError: its data is not there, or has no labels for a conditional run.
        UserError: its data cannot be listed.
    """
    if settings.data not in DATASETS and not Path(settings.data).expanduser().exists():
        raise UsageError(f"--data {settings.data}: no such file or folder, nor one of {', '.join(DATASETS)}")
    shape = (max(settings.batch, 64), settings.channels, settings.resolution, settings.resolution)
    noise = torch.randint(0, 256, shape, dtype=torch.uint8)
    count = collectives.on_rank0(lambda: count_classes(settings.data)) if settings.conditional else 0
    labels = torch.arange(len(noise)) % count if count else None
    classes = [str(number) for number in range(count)]
    job = Trainer(settings, runtime, ImageSet.of(noise, labels, classes, name=settings.data))
    if process_group.is_rank0():
        print(json.dumps(settings.to_dict(), indent=2))
        print(f"run:        {run.checkpoints} and {run.samples}")
        print(f"networks:   {describe_networks(job)}, {describe_runtime(runtime)}", flush=True)
    say("timing some steps on noise")
    seconds = _seconds(job, 1)
    # On CUDA the first step is long in any case: it looks for the fastest algorithms.
    if runtime.device.type == "cuda" or collectives.on_rank0(lambda: seconds < _LONG):
        if runtime.device.type == "cuda":
            _seconds(job, cuda_graph.WARM_UP)
        seconds = _seconds(job, _REPLAYED if runtime.device.type == "cuda" else _STEPS)
    if process_group.is_rank0():
        images = settings.batch * settings.n_dis / seconds
        print(f"time:       {_duration(seconds * settings.steps)} for {settings.steps:,} steps ({images:.0f} images/s)")
        print(f"memory:     {peak_memory_bytes(runtime.device) / 1e6:.0f} MB, without the training images")


def _seconds(job: Trainer, steps: int) -> float:
    """Of a step."""
    began = time.monotonic()
    for _ in range(steps):
        job.train_step()
    job.log_entry()  # waits for the device
    return (time.monotonic() - began) / steps


def describe_runtime(runtime: Runtime) -> str:
    """Where a run computes, and in which precision."""
    if runtime.ranks > 1:
        return f"{runtime.precision} on {runtime.ranks} ranks on {runtime.device.type}"
    return f"{runtime.precision} on {runtime.device}"


def describe_networks(job: Trainer) -> str:
    """The networks of a run and their parameters."""
    return (
        f"{job.config.network} with {job.config.norm}: G {count_parameters(job.generator):,} and "
        f"D {count_parameters(job.discriminator):,} parameters"
    )


def _duration(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
