"""The training loop: steps, and the log, sample grids and checkpoints between them."""

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

# Called with the step and the EMA generator; the entries that it returns are logged.
Snapshot = Callable[[int, nn.Module], dict[str, Any] | None]


def run_training_loop(
    trainer: Trainer,
    run: RunDirectory,
    *,
    on_snapshot: Snapshot | None = None,
    dynamics: DynamicsCallback | None = None,
) -> int | None:
    """Train to the last step, writing the log, sample grids and checkpoints of `run`.

    Several ranks call it together; rank 0 writes.

    Args:
        on_snapshot: called after each checkpoint, and for the checkpoint that a run resumes from, to score the
            generator, for example. All ranks call it together; the result of rank 0 is used.
        dynamics: samples the networks when due, before the first step and after each.

    Returns:
        the signal that any rank has received, after a checkpoint: the run is stopped, or has just finished its last
        step; None when the run is done.

    Raises:
        gan.errors.Diverged: a loss or gradient is not finite; the last good checkpoint is kept.
        Exception, KeyboardInterrupt: raised by a progress callback, after a checkpoint.
        UserError, OSError: a file cannot be written (OSError: a sample grid); files written before are intact.
    """
    config = trainer.config
    log = RunLogger(run.checkpoints, trainer.step) if process_group.is_rank0() else None
    saved_step = collectives.on_rank0(lambda: _set_aside_later(trainer, run))

    def due(every: int) -> bool:
        return trainer.step % every == 0 or trainer.step == config.steps

    def save() -> None:
        nonlocal saved_step
        if saved_step != trainer.step:
            state = trainer.state()
            collectives.on_rank0(lambda: write(state))
            saved_step = trainer.step

    def write(state: dict[str, Any]) -> None:
        checkpoint.save_checkpoint(checkpoint.checkpoint_path(run.checkpoints, trainer.step), state)

    def accept() -> None:
        """Remove older checkpoints, now that the newest is known to be good."""
        checkpoint.prune_checkpoints(run.checkpoints, config.keep, run.kept_checkpoints(dynamics is not None))
        run.mark_checkpointed()

    def snapshot() -> None:
        save()
        try:
            entry = on_snapshot(trainer.step, trainer.ema.network) if on_snapshot else None
        except Diverged:  # do not keep a checkpoint whose generator is not finite
            checkpoint.checkpoint_path(run.checkpoints, trainer.step).unlink(missing_ok=True)
            raise
        if entry and log:
            seconds = round(trainer.seconds, 3)
            log.write({"step": trainer.step, "images": trainer.images_seen, "seconds": seconds, **entry})
        collectives.on_rank0(accept)

    def sample_dynamics() -> None:
        if dynamics and dynamics.due(trainer.step):
            trainer.synchronize()
            dynamics(trainer.step)

    def stop_signal() -> int | None:
        return collectives.all_reduce_max(signals.received or 0) or None

    per_step = config.n_dis * config.batch
    bar = progress(f"training {run.name}", config.steps, start=trainer.step, per_item=per_step)
    try:
        with StopSignals(process_group.world_size()) as signals, bar as advance:
            if saved_step == trainer.step:
                snapshot()  # the run may have been killed between this checkpoint and its scores
            sample_dynamics()
            while trainer.step < config.steps and stop_signal() is None:
                trainer.train_step()
                sample_dynamics()
                note = ""
                if due(config.log_every):
                    entry = trainer.log_entry()
                    if log:
                        log.write(entry)
                    note = f"D {entry['loss_d']:.3f}  G {entry['loss_g']:.3f}"
                if log and due(config.sample_every):
                    trainer.synchronize()
                    images = fixed_samples(trainer)
                    save_grid(run.sample_path(trainer.step), images, _GRID)
                    log.image("samples", image_grid(images, _GRID), trainer.step)
                if due(config.checkpoint_every) or (config.report_every and due(config.report_every)):
                    snapshot()
                try:
                    advance(1, note)
                except (Exception, KeyboardInterrupt):  # of the caller's progress callback
                    if process_group.world_size() == 1:
                        save()
                        accept()
                    raise
            save()
            collectives.on_rank0(accept)
            return stop_signal()
    except Diverged as error:
        if log is None:
            raise
        log.write({"step": trainer.step, "images": trainer.images_seen, "health": ["diverged"], "error": str(error)})
        checkpoints = checkpoint.list_checkpoints(run.checkpoints)
        last = f"the last good checkpoint is {checkpoints[-1]}" if checkpoints else "no checkpoint was saved"
        raise Diverged(f"{error}; {last}") from error
    finally:
        if log:
            log.close()


def _set_aside_later(trainer: Trainer, run: RunDirectory) -> int:
    """Set aside checkpoints after the trainer's step; returns the step if the run has a checkpoint of it, else -1."""
    checkpoint.set_aside_later(run.checkpoints, trainer.step)
    return trainer.step if checkpoint.list_checkpoints(run.checkpoints) else -1


def fixed_samples(trainer: Trainer) -> Tensor:
    """Images of a sample grid, uint8 (64, C, H, W), which the EMA generator makes of the same latents at every step."""
    indices = range(_GRID**2)
    z = generate.latents(trainer.config.seed, indices, trainer.config.latent_dim)
    try:
        return generate.render(trainer.ema.network, z, generate.labels_in_turn(indices, trainer.classes))
    except Diverged as error:
        raise Diverged(f"step {trainer.step}: {error}") from error


def save_real_images(trainer: Trainer, run: RunDirectory) -> None:
    """Write `real.png`: as many training images as a sample grid has."""
    count = min(_GRID**2, len(trainer.data))
    images = trainer.data.fetch(torch.linspace(0, len(trainer.data) - 1, count).long())  # spread over all classes
    save_grid(run.samples / "real.png", images, _GRID)
