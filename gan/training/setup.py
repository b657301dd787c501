"""Set up a run: load its images, begin or resume its folder, attach the dynamics callback"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from gan.config.train_config import TrainConfig
from gan.data import ImageSet, load_images
from gan.distributed import collectives
from gan.dynamics.callback import DynamicsCallback
from gan.dynamics.measure import DynamicsMeter
from gan.dynamics.probe_batches import DiscriminatorProbe
from gan.errors import UsageError
from gan.models import count_parameters
from gan.runs import resume as begun
from gan.runs.run_dir import RunDirectory
from gan.training import loop, trainer
from gan.utils.progress import say


def begin_or_resume(
    job: trainer.Trainer, run: RunDirectory, state: dict[str, Any] | None, extra: Mapping[str, Any] | None = None
) -> None:
    """Bring a run to where it was, or begin its folder, which exists, where there is no state.

    Args:
        extra: what config.json of a new run says besides.

    Raises:
        UserError: the images are not those that the run began with, or a file cannot be written.
    """
    if state:
        begun.require_same_images(run, "images", state["data"], job.data)
        job.load_state(state)
        collectives.on_rank0(lambda: run.update_config(job.config))
        say(f"going on with {run.name} at step {job.step} of {job.config.steps}")
        then, now = state.get("threads"), torch.get_num_threads()
        if job.runtime.device.type == "cpu" and then not in (None, now):
            say(
                f"it ran with {then} threads and goes on with {now}: the same but for rounding; "
                f"OMP_NUM_THREADS={then} gives the same bytes"
            )
    else:
        collectives.on_rank0(lambda: _begin(job, run, extra or {}))


def _begin(job: trainer.Trainer, run: RunDirectory, extra: Mapping[str, Any]) -> None:
    run.write_config(job.config, {**_description(job), **extra})
    loop.save_real_images(job, run)


def load_training_images(settings: TrainConfig) -> ImageSet:
    """The images that a run learns from.

    Raises:
        UserError: they cannot be read.
    """
    return load_images(
        settings.data,
        resolution=settings.resolution,
        channels=settings.channels,
        data_root=Path(settings.data_root),
        skip_bad_images=settings.skip_bad_images,
    )


def dynamics_meter(job: trainer.Trainer) -> DynamicsMeter | None:
    """What is watched of a run, its discriminator, or None; to be made while the weights are the initial ones."""
    if not job.config.dynamics:
        return None
    if job.runtime.ranks > 1:
        raise UsageError("--dynamics: samples are taken by one process alone; leave it out under torchrun")
    probe = DiscriminatorProbe(job.config, job.data, job.classes, job.generator, job.runtime.device)
    return DynamicsMeter(job.discriminator, probe, {"kind": "discriminator", "norm": job.config.norm})


def dynamics_callback(
    job: trainer.Trainer, run: RunDirectory, subject: DynamicsMeter | None
) -> DynamicsCallback | None:
    """What `loop.train` calls to sample training dynamics of the run from where it stands now, or None."""
    if subject is None:
        return None
    return DynamicsCallback(run.checkpoints, subject, every=job.config.dynamics, last=job.config.steps, step=job.step)


def _description(job: trainer.Trainer) -> dict[str, Any]:
    """What config.json says besides the settings."""
    return {
        "runtime": {
            "device": str(job.runtime.device),
            "precision": job.runtime.precision,
            "ranks": job.runtime.ranks,
        },
        "parameters": {
            "generator": count_parameters(job.generator),
            "discriminator": count_parameters(job.discriminator),
        },
        "data": {**begun.image_set_record(job.data), "classes": list(job.data.classes)},
    }
