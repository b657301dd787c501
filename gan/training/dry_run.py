"""`--dry-run`: settings, images and sizes of a run, and an estimate of its time, memory and disk."""

import json
import shlex
from pathlib import Path

from gan.config.presets import preset_config
from gan.config.train_config import TrainConfig
from gan.data.datasets import DATASETS, count_classes, open_source
from gan.data.notes import listing_notes, say_notes
from gan.distributed import collectives, process_group
from gan.models import count_parameters
from gan.models.freezing import describe_frozen
from gan.runs.checkpoint import CheckpointFile
from gan.runs.run_dir import RunDirectory
from gan.runtime import Runtime
from gan.training.estimate import estimate_run, noise_images
from gan.training.trainer import Trainer
from gan.training.transfer import take_weights
from gan.utils.counted import counted
from gan.utils.memory import format_bytes
from gan.utils.progress import say


def dry_run(
    config: TrainConfig,
    runtime: Runtime,
    run: RunDirectory,
    *,
    source: CheckpointFile | None = None,
    verbose: bool = False,
) -> None:
    """Print the settings, images and sizes of a run, then its time, memory and disk. Several ranks call it together.

    No images are loaded; those of a folder, zip or npz are listed.

    Args:
        source: the checkpoint of `--init`, whose layers that fit are counted.
        verbose: print all fields of the config, also those of the preset.

    Raises:
        UsageError: the data does not exist, or has no labels for a conditional run.
        UserError: the data cannot be listed, or no layer of `source` fits.
    """
    images, classes = collectives.on_rank0(lambda: list_images(config.data))
    noise = noise_images(config, classes if config.conditional else 0)
    trainer = Trainer(config, runtime, noise)
    if source:
        take_weights(trainer, source)
    if process_group.is_rank0():
        print(f"run:        {run.checkpoints} and {run.samples}")
        print(f"settings:   {shlex.join(_settings(config))}")
        if verbose:
            print(json.dumps(vars(config), indent=2))
        print(f"images:     {images}")
        print(f"networks:   {describe_networks(trainer)}, {describe_runtime(runtime)}", flush=True)
    del trainer
    say("timing steps on noise")
    estimate = estimate_run(config, runtime, noise)
    if process_group.is_rank0():
        rate = config.batch * config.n_dis / estimate.step_seconds
        note = ", extrapolated from small batches" if estimate.extrapolated else ""
        count, size = estimate.disk(config)
        total = format_duration(estimate.step_seconds * config.steps)
        print(f"time:       {total} for {config.steps:,} steps ({_rate_text(rate)} images/s{note})")
        print(f"memory:     {format_bytes(estimate.memory)}, without the training images{note}")
        print(
            f"disk:       {format_bytes(size)} ({counted(count, 'checkpoint')} of {format_bytes(estimate.checkpoint)})"
        )


def _settings(config: TrainConfig) -> list[str]:
    """The preset and the flags in which the config differs from it; the precision is shown with the device."""
    base = preset_config(config.preset).replace({"precision": config.precision})
    return ["--preset", config.preset, *config.flags(base)]


def list_images(data: str) -> tuple[str, int]:
    """The training images in words, and their number of classes; prints what is left out or assumed in listing them."""
    if data in DATASETS:
        return data, count_classes(data)
    source = open_source(data, data_root=Path(), split="train")
    say_notes(source.name, listing_notes(source.listing))
    classes = len(source.listing.classes)
    labelled = f" in {counted(classes, 'class')}" if classes else ", without labels"
    return f"{len(source.listing.names):,} of {data}{labelled}", classes


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
        f"{describe_frozen(trainer.discriminator, trainer.config.freeze_d)}"
    )


def _rate_text(rate: float) -> str:
    """A rate as a whole number, or with two digits below 10."""
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


def format_duration(seconds: float) -> str:
    """A time in its two largest units, such as `2 days 3 h`."""
    days, rest = divmod(round(seconds), 24 * 3600)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    if days:
        return f"{counted(days, 'day')} {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
