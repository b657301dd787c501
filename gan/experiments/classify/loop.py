"""One training from where it is to its end: steps, and the log and checkpoints between them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from gan.dynamics.callback import DynamicsCallback
from gan.experiments.classify import results
from gan.experiments.classify.trainer import ClassifierTrainer
from gan.experiments.provenance import provenance
from gan.models import count_parameters
from gan.models.classifiers import CLASSIFIER_FILE, classifier_state
from gan.runs import checkpoint
from gan.runs.log import RunLogger
from gan.utils.progress import Advance
from gan.utils.signals import StopSignals

SAVE_SECONDS = 60.0  # between checkpoints within an epoch; one is written after each epoch too


def train_classifier(
    job: ClassifierTrainer,
    folder: Path,
    classes: tuple[str, ...],
    stop: StopSignals,
    advance: Advance,
    dynamics: DynamicsCallback | None = None,
) -> bool:
    """Train to the last step or until the loss is not finite, writing what `folder` holds of a training.

    Args:
        folder: of this training alone; it exists.
        classes: names, for the finished network's file.
        stop: when a signal is received, a checkpoint is written and the training ends early.
        advance: called after each step.
        dynamics: samples the network between steps.

    Returns:
        whether it is done, with its result written; False if it was stopped.

    Raises:
        UserError: a file cannot be written; what was written before is whole.
    """
    log = RunLogger(folder, job.step)
    saved, since = job.step, time.monotonic()

    def save() -> None:
        nonlocal saved, since
        job.read_losses()
        if saved != job.step and job.diverged is None:
            checkpoint.save_checkpoint(checkpoint.checkpoint_path(folder, job.step), job.state())
            checkpoint.prune_checkpoints(folder, keep=1, step=job.step)
            saved, since = job.step, time.monotonic()

    def sample() -> None:
        if dynamics and dynamics.due(job.step):
            job.read_losses()  # or the sample would be counted to the time of a step
            if job.diverged is None:
                dynamics(job.step)

    try:
        sample()
        while job.step < job.steps and job.diverged is None:
            if stop.received is not None:
                save()
                return False
            job.train_step()
            note = ""
            if job.at_end_of_epoch and job.diverged is None:
                entry = job.end_epoch()
                log.write(entry)
                note = f"epoch {entry['epoch']}: test accuracy {entry['test_accuracy']:.1%}"
                save()
            elif time.monotonic() - since >= SAVE_SECONDS:
                save()
            sample()
            advance(1, note)
    finally:
        log.close()
    _finish(job, folder, classes)
    return True


def _finish(job: ClassifierTrainer, folder: Path, classes: tuple[str, ...]) -> None:
    """Write the trained network and the result, which says that the training is done; then drop the checkpoint."""
    diverged = None
    if job.diverged is not None:
        diverged = {"step": job.diverged, "epoch": job.epoch_of(job.diverged)}
    else:
        state = classifier_state(job.network, job.config.model, job.training.norm, classes)
        checkpoint.save_checkpoint(
            folder / CLASSIFIER_FILE, {**state, "training": {**_facts(job), "images": _images(job)}}
        )
    results.write_classify_result(folder, {**_facts(job), "diverged": diverged, **provenance(job.runtime)})
    for path in checkpoint.list_checkpoints(folder):
        path.unlink()


def _facts(job: ClassifierTrainer) -> dict[str, Any]:
    return {
        "norm": job.training.norm,
        "lr": job.training.lr,
        "seed": job.training.seed,
        "epochs": job.config.epochs,
        "seconds": job.seconds,
        "parameters": count_parameters(job.network),
    }


def _images(job: ClassifierTrainer) -> dict[str, Any]:
    """Which images it was trained and tested on, in the words of the flags; the rule that splits them is `sets`'s."""
    return {name: getattr(job.config, name) for name in ("data", "test_data", "data_root", "limit")}


def resume_classifier(job: ClassifierTrainer, folder: Path) -> None:
    """Take up the newest whole checkpoint of a training, if it has one.

    Raises:
        UserError: it belongs to another training, or is damaged.
    """
    found = checkpoint.newest_checkpoint(folder)
    if found is not None:
        job.load_state(found[1], found[0])
