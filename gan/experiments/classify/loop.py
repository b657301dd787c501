"""Training loop of a classifier, with its log and checkpoints."""

import time
from pathlib import Path
from typing import Any

from gan.config.plugins import file_entry
from gan.dynamics.callback import DynamicsCallback
from gan.errors import UserError
from gan.experiments.classify.trainer import ClassifierTrainer
from gan.experiments.provenance import write_result
from gan.models import count_parameters
from gan.models.classifiers import classifier_state
from gan.runs import checkpoint
from gan.runs.checkpoint import CLASSIFIER_FILE
from gan.runs.log import LOG, RunLogger, read_log
from gan.utils.progress import Advance
from gan.utils.signals import StopSignals

SAVE_SECONDS = 60.0  # between checkpoints within an epoch; one is written after each epoch too


def train_classifier(
    trainer: ClassifierTrainer,
    folder: Path,
    classes: tuple[str, ...],
    stop: StopSignals,
    advance: Advance,
    dynamics: DynamicsCallback | None = None,
) -> bool:
    """Train to the last step or until the loss is not finite; write log, checkpoints, network and result.

    Args:
        folder: existing folder of this training alone.
        classes: class names, for the file of the finished network.
        stop: after a signal a checkpoint is written and the training ends early.
        advance: called after each step.
        dynamics: measures training dynamics between steps.

    Returns:
        True if the training is done and its result written, False if it was stopped.

    Raises:
        UserError: a file cannot be written; files written before remain complete.
    """
    log = RunLogger(folder, trainer.step)
    saved_step, saved_at = trainer.step, time.monotonic()

    def save() -> None:
        nonlocal saved_step, saved_at
        trainer.read_losses()
        if saved_step != trainer.step and trainer.diverged is None:
            checkpoint.save_checkpoint(checkpoint.checkpoint_path(folder, trainer.step), trainer.state())
            checkpoint.prune_checkpoints(folder, keep=1, step=trainer.step)
            saved_step, saved_at = trainer.step, time.monotonic()

    def measure_dynamics() -> None:
        if dynamics and dynamics.due(trainer.step):
            trainer.read_losses()  # so that the measurement is not timed as part of a step
            if trainer.diverged is None:
                dynamics(trainer.step)

    try:
        measure_dynamics()
        while trainer.step < trainer.steps and trainer.diverged is None:
            if stop.received is not None:
                save()
                return False
            trainer.train_step()
            note = ""
            if trainer.at_end_of_epoch and trainer.diverged is None:
                entry = trainer.end_epoch()
                log.write(entry)
                note = f"epoch {entry['epoch']}: test accuracy {entry['test_accuracy']:.1%}"
                save()
            elif time.monotonic() - saved_at >= SAVE_SECONDS:
                save()
            measure_dynamics()
            advance(1, note)
    finally:
        log.close()
    _finish(trainer, folder, classes)
    return True


def _finish(trainer: ClassifierTrainer, folder: Path, classes: tuple[str, ...]) -> None:
    """Write the network and the result, which marks the training as done; then remove the checkpoint."""
    diverged, own_code = None, file_entry(trainer.plugins)
    if trainer.diverged is not None:
        diverged = {"step": trainer.diverged, "epoch": trainer.epoch_of(trainer.diverged)}
    else:
        state = classifier_state(trainer.network_to_test(), trainer.config.model, trainer.training.norm, classes)
        # The images by flag; the rule that splits them is in `data.train_test_sets`.
        images = {name: getattr(trainer.config, name) for name in ("data", "test_data", "data_root", "limit")}
        epochs = read_log(folder / LOG)
        if trainer.config.generated:
            images["generated"] = trainer.config.generated
        quality = {
            "test_accuracy": epochs[-1]["test_accuracy"] if epochs else None,
            "test_images": len(trainer.test),
            "train_images": trainer.image_count,
        }
        # No times: the same training gives the same file, whose SHA-256 names the extractor in protocols.
        content = {**state, **own_code, "training": {**_facts(trainer), "images": images, "quality": quality}}
        checkpoint.save_checkpoint(folder / CLASSIFIER_FILE, content)
    result = {**_facts(trainer), "seconds": trainer.seconds, "diverged": diverged, **own_code}
    write_result(folder, result, trainer.runtime)
    remove_checkpoints(folder)


def remove_checkpoints(folder: Path) -> None:
    """Remove the checkpoints of a finished training; another process may remove them too."""
    for path in checkpoint.list_checkpoints(folder):
        path.unlink(missing_ok=True)


def _facts(trainer: ClassifierTrainer) -> dict[str, Any]:
    return {
        "norm": trainer.training.norm,
        "lr": trainer.training.lr,
        "seed": trainer.training.seed,
        "epochs": trainer.config.epochs,
        "parameters": count_parameters(trainer.network),
    }


def resume_classifier(trainer: ClassifierTrainer, folder: Path) -> None:
    """Load the newest complete checkpoint of a training, if it has one.

    Raises:
        UserError: it is from another training, damaged, or missing although the log has epochs that it followed.
    """
    if newest := checkpoint.newest_checkpoint(folder):
        trainer.load_state(newest.state, newest.path)
    elif len(epochs := read_log(folder / LOG)) > 1:  # after the first, it may have been killed before it was saved
        raise UserError(
            f"{folder}: its checkpoint is missing, although it was trained to epoch {epochs[-1]['epoch']}; "
            "put the step-….pt back, or remove the folder to start this training again"
        )
