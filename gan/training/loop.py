"""The training loop: steps, and the log, sample grids and checkpoints between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from gan.distributed import collectives, process_group
from gan.dynamics.callback import DynamicsCallback
from gan.errors import Diverged
from gan.runs import checkpoint
from gan.runs.log import RunLogger
from gan.runs.run_dir import RunDirectory
from gan.sampling import generate
from gan.sampling.grids import image_grid, save_grid
from gan.training.trainer import Trainer
from gan.utils.progress import progress
from gan.utils.signals import StopSignals

_GRID = 8  # rows and columns of a sample grid

# Called with the step and the averaged generator; what it gives is logged.
Snapshot = Callable[[int, nn.Module], dict[str, Any] | None]


def run_training_loop(
    trainer: Trainer,
    run: RunDirectory,
    *,
    on_snapshot: Snapshot | None = None,
    watch: DynamicsCallback | None = None,
) -> int | None:
    """Train to the last step, writing the log, sample grids and checkpoints of `run`.

    Several ranks call it together; rank 0 writes.

    Args:
        on_snapshot: called after each checkpoint, and after that which a run goes on from, to score the generator, say.
            Several ranks call it together, and what it gives on rank 0 counts.
        watch: looks at the networks, where it is due: before the first step and after each.

    Returns:
        the signal that stopped the run (after a checkpoint), on whatever rank it came, or None when it is done.

    Raises:
        gan.training.health.Diverged: a loss or gradient is not finite; the last good checkpoint is kept.
        UserError, OSError: a file cannot be written (OSError: a sample grid); what was written before is whole.
    """
    config = trainer.config
    log = RunLogger(run.checkpoints, trainer.step) if process_group.is_rank0() else None
    collectives.on_rank0(lambda: checkpoint.set_aside_later(run.checkpoints, trainer.step))
    saved = collectives.on_rank0(lambda: trainer.step if checkpoint.list_checkpoints(run.checkpoints) else -1)

    def due(every: int) -> bool:
        return trainer.step % every == 0 or trainer.step == config.steps

    def save() -> None:
        nonlocal saved
        if saved != trainer.step:
            state = trainer.state()
            collectives.on_rank0(lambda: write(state))
            saved = trainer.step

    def write(state: dict[str, Any]) -> None:
        checkpoint.save_checkpoint(checkpoint.checkpoint_path(run.checkpoints, trainer.step), state)
        checkpoint.prune_checkpoints(run.checkpoints, config.keep, run.best())

    def snapshot() -> None:
        save()
        try:
            entry = on_snapshot(trainer.step, trainer.ema.network) if on_snapshot else None
        except Diverged:  # a checkpoint of such a generator is not to be kept
            checkpoint.checkpoint_path(run.checkpoints, trainer.step).unlink(missing_ok=True)
            raise
        if entry and log:
            seconds = round(trainer.seconds, 3)
            log.write({"step": trainer.step, "images": trainer.images_seen, "seconds": seconds, **entry})
            checkpoint.prune_checkpoints(run.checkpoints, config.keep, run.best())  # what was the best until now

    def look() -> None:
        if watch and watch.due(trainer.step):
            trainer.synchronize()
            watch(trainer.step)

    def signalled() -> int | None:
        return collectives.all_reduce_max(stop.received or 0) or None

    per_step = config.n_dis * config.batch
    bar = progress(f"training {run.name}", config.steps, start=trainer.step, per_item=per_step)
    try:
        with StopSignals(process_group.world_size()) as stop, bar as advance:
            if saved == trainer.step:
                snapshot()  # in case the run was killed in the middle of it
            look()
            while trainer.step < config.steps and signalled() is None:
                trainer.train_step()
                look()
                note = ""
                if due(config.log_every):
                    entry = trainer.log_entry()
                    if log:
                        log.write(entry)
                    note = f"D {entry['loss_d']:.3f}  G {entry['loss_g']:.3f}"
                advance(1, note)
                if log and due(config.sample_every):
                    trainer.synchronize()
                    images = fixed_samples(trainer)
                    save_grid(run.sample_path(trainer.step), images, _GRID)
                    log.image("samples", image_grid(images, _GRID), trainer.step)
                if due(config.checkpoint_every) or (config.report_every and due(config.report_every)):
                    snapshot()
            save()
            return signalled()
    except Diverged as error:
        if log is None:
            raise
        log.write({"step": trainer.step, "images": trainer.images_seen, "health": ["diverged"], "error": str(error)})
        kept = checkpoint.list_checkpoints(run.checkpoints)
        raise Diverged(
            f"{error}; " + (f"the last good checkpoint is {kept[-1]}" if kept else "none was saved")
        ) from error
    finally:
        if log:
            log.close()


def fixed_samples(trainer: Trainer) -> Tensor:
    """The images of a sample grid, uint8 (64, C, H, W): always the same latents, by the averaged generator."""
    indices = range(_GRID**2)
    z = generate.latents(trainer.config.seed, indices, trainer.config.latent_dim)
    try:
        return generate.render(trainer.ema.network, z, generate.labels_in_turn(indices, trainer.classes))
    except Diverged as error:
        raise Diverged(f"step {trainer.step}: {error}") from error


def save_real_images(trainer: Trainer, run: RunDirectory) -> None:
    """Write `real.png`: as many images of the set as a sample grid has."""
    count = min(_GRID**2, len(trainer.data))
    images = trainer.data.fetch(torch.linspace(0, len(trainer.data) - 1, count).long())  # of all classes
    save_grid(run.samples / "real.png", images, _GRID)
