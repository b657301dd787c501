"""`--dry-run`: config, sizes, and an estimate of time and memory, measured on noise."""

import json
import time
from pathlib import Path

import torch

from gan.config.train_config import TrainConfig
from gan.data import DATASETS, ImageSet
from gan.data.datasets import count_classes, open_source
from gan.data.notes import listing_notes, say_notes
from gan.distributed import collectives, process_group
from gan.errors import UsageError
from gan.models import count_parameters
from gan.runs.run_dir import RunDirectory
from gan.runtime import Runtime
from gan.training import cuda_graph
from gan.training.trainer import Trainer
from gan.utils.memory import peak_memory_bytes
from gan.utils.progress import say

_TIMED_STEPS = 3  # after a first one
_TIMED_CUDA_STEPS = 20  # after those that capture a CUDA graph
_LONG_STEP = 10.0  # seconds; if the first step takes longer, no more are timed


def dry_run(config: TrainConfig, runtime: Runtime, run: RunDirectory) -> None:
    """Print the config and sizes of a run, then its time and memory. Several ranks call it together.

    No images are loaded. For a conditional run they are listed, to count the classes.

    Raises:
        UsageError: the data does not exist, or has no labels for a conditional run.
        UserError: the data cannot be listed.
    """
    if config.data not in DATASETS and not Path(config.data).expanduser().exists():
        raise UsageError(f"--data {config.data}: no such file or folder, nor one of {', '.join(DATASETS)}")
    shape = (max(config.batch, 64), config.channels, config.resolution, config.resolution)
    noise = torch.randint(0, 256, shape, dtype=torch.uint8)
    count = collectives.on_rank0(lambda: _list_and_count_classes(config.data)) if config.conditional else 0
    labels = torch.arange(len(noise)) % count if count else None
    classes = [str(number) for number in range(count)]
    trainer = Trainer(config, runtime, ImageSet.of(noise, labels, classes, name=config.data))
    if process_group.is_rank0():
        print(json.dumps(vars(config), indent=2))
        print(f"run:        {run.checkpoints} and {run.samples}")
        print(f"networks:   {describe_networks(trainer)}, {describe_runtime(runtime)}", flush=True)
    say("timing steps on noise")
    seconds = _seconds_per_step(trainer, 1)
    # On CUDA the first step always takes long: cuDNN searches for the fastest algorithms.
    if runtime.device.type == "cuda" or collectives.on_rank0(lambda: seconds < _LONG_STEP):
        if runtime.device.type == "cuda":
            _seconds_per_step(trainer, cuda_graph.WARM_UP)
        seconds = _seconds_per_step(trainer, _TIMED_CUDA_STEPS if runtime.device.type == "cuda" else _TIMED_STEPS)
    if process_group.is_rank0():
        images = config.batch * config.n_dis / seconds
        print(f"time:       {_duration(seconds * config.steps)} for {config.steps:,} steps ({images:.0f} images/s)")
        print(f"memory:     {peak_memory_bytes(runtime.device) / 1e6:.0f} MB, without the training images")


def _list_and_count_classes(data: str) -> int:
    """The number of classes of a set's training images; prints what is left out or assumed in listing them."""
    if data in DATASETS:
        return count_classes(data)
    source = open_source(data, data_root=Path(), split="train")
    say_notes(source.name, listing_notes(source.listing))
    return len(source.listing.classes)


def _seconds_per_step(trainer: Trainer, steps: int) -> float:
    began = time.monotonic()
    for _ in range(steps):
        trainer.train_step()
    trainer.log_entry()  # waits for the device
    return (time.monotonic() - began) / steps


def describe_runtime(runtime: Runtime) -> str:
    """Precision, number of ranks and device of a run."""
    if runtime.ranks > 1:
        return f"{runtime.precision} on {runtime.ranks} ranks on {runtime.device.type}"
    return f"{runtime.precision} on {runtime.device}"


def describe_networks(trainer: Trainer) -> str:
    """The networks of a run and their numbers of parameters."""
    return (
        f"{trainer.config.network} with {trainer.config.norm}: G {count_parameters(trainer.generator):,} and "
        f"D {count_parameters(trainer.discriminator):,} parameters"
    )


def _duration(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
