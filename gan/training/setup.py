"""Set up a run: load its images, start or resume it, and create the dynamics callback."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from gan.config import plugins
from gan.config.train_config import TrainConfig
from gan.data.image_set import ImageSet
from gan.data.loading import load_images
from gan.distributed import collectives
from gan.dynamics.callback import DynamicsCallback
from gan.dynamics.measure import DynamicsMeter
from gan.dynamics.probe_batches import DiscriminatorProbe
from gan.errors import UsageError, UserError
from gan.models import count_parameters
from gan.runs import checkpoint
from gan.runs.resume import image_set_record, require_same_images
from gan.runs.run_dir import RunDirectory
from gan.training.loop import save_real_images
from gan.training.trainer import Trainer
from gan.utils.counted import counted
from gan.utils.progress import say, warn


def load_training_images(config: TrainConfig) -> ImageSet:
    """Load the training images of a run; a UserError if they cannot be read."""
    return load_images(
        config.data,
        resolution=config.resolution,
        channels=config.channels,
        data_root=Path(config.data_root),
        skip_bad_images=config.skip_bad_images,
    )


def begin_or_resume(
    trainer: Trainer, run: RunDirectory, state: dict[str, Any] | None, extra: Mapping[str, Any] | None = None
) -> None:
    """Load the state of a resumed run, or write config.json and real.png of a new one, whose folders exist.

    Args:
        extra: further entries of config.json of a new run.

    Raises:
        UserError: the images or the user's own code are not those that the run started with, or a file cannot be
            written.
    """
    if state:
        plugins.require_unchanged(state.get("plugins"), trainer.plugins, f"RUN {run.name}")
        require_same_images(run, "images", state["data"], trainer.data)
        trainer.load_state(state)

    def write_files() -> None:
        if state:
            run.update_config(trainer.config.to_dict(), trainer.plugins)
        else:
            entries = {**_config_entries(trainer), **(extra or {})}
            run.write_config(trainer.config.to_dict(), entries, trainer.plugins)
            save_real_images(trainer, run)

    collectives.on_rank0(write_files)
    if state:
        say(f"resuming {run.name} at step {trainer.step} of {trainer.config.steps}")
        before, now = state.get("threads"), torch.get_num_threads()
        if trainer.runtime.device.type == "cpu" and before not in (None, now):
            warn(
                f"resuming with {counted(now, 'thread')} instead of {before}: results may differ by rounding; "
                f"OMP_NUM_THREADS={before} gives the same bytes"
            )


def save_transferred(trainer: Trainer, run: RunDirectory) -> None:
    """Save a checkpoint of step 0 of a run with `--init`, so that resuming it never needs the source.

    Raises:
        UserError: the file cannot be written.
    """
    state = trainer.state()
    collectives.on_rank0(lambda: checkpoint.save_checkpoint(checkpoint.checkpoint_path(run.checkpoints, 0), state))


def _config_entries(trainer: Trainer) -> dict[str, Any]:
    """Entries of config.json besides the config."""
    return {
        "runtime": {
            "device": str(trainer.runtime.device),
            "precision": trainer.runtime.precision,
            "ranks": trainer.runtime.ranks,
        },
        "parameters": {
            "generator": count_parameters(trainer.generator),
            "discriminator": count_parameters(trainer.discriminator),
        },
        "data": {**image_set_record(trainer.data), "classes": list(trainer.data.classes)},
    }


def load_transferred(trainer: Trainer, run: RunDirectory) -> None:
    """Load the initial weights of a run with `--init` again, from its checkpoint of step 0; for `dynamics_meter`.

    Raises:
        UserError: the checkpoint is missing or damaged.
    """
    first = checkpoint.checkpoint_path(run.checkpoints, 0)
    if not first.exists():
        raise UserError(f"--dynamics: {first} is missing, whose weights drift is relative to; resume with --dynamics 0")
    trainer.load_state(checkpoint.load_checkpoint(first))


def dynamics_meter(trainer: Trainer) -> DynamicsMeter | None:
    """The meter of `--dynamics`, or None without the flag; to be created while the weights are the initial ones."""
    if not trainer.config.dynamics:
        return None
    if trainer.runtime.ranks > 1:
        raise UsageError("--dynamics: needs a single process; leave it out under torchrun")
    probe = DiscriminatorProbe(trainer.config, trainer.data, trainer.classes, trainer.generator, trainer.runtime.device)
    return DynamicsMeter(trainer.discriminator, probe, {"kind": "discriminator", "norm": trainer.config.norm})


def dynamics_callback(trainer: Trainer, run: RunDirectory, meter: DynamicsMeter | None) -> DynamicsCallback | None:
    """The callback of `run_training_loop` that samples training dynamics from the trainer's step on, or None."""
    if meter is None:
        return None
    config = trainer.config
    return DynamicsCallback(run.checkpoints, meter, every=config.dynamics, last=config.steps, step=trainer.step)
