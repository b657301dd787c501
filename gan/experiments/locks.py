"""Locks of an experiment: one of the whole run, and one of each training, so that processes can share a run."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path

from gan.errors import UserError
from gan.experiments.plan import Training
from gan.runs.lock import exclusive_lock, is_locked

_PROBE_SECONDS = 2.0  # to wait for the lock of a training: another process may only be looking whether it is locked


def training_lock(folder: Path, training: Training) -> AbstractContextManager[None]:
    """Lock one training; a UserError if another process is training it.

    Args:
        folder: of the run.
    """
    in_use = f"another process is training {training.cell}; wait until it ends"
    return exclusive_lock(folder, _lock_name(training), in_use=in_use, wait=_PROBE_SECONDS)


def run_lock(folder: Path, trainings: Iterable[Training]) -> AbstractContextManager[None]:
    """Lock the run; a UserError if other processes are training it, or any of its trainings."""
    if busy := [training.cell for training in trainings if is_locked(folder, _lock_name(training))]:
        raise UserError(
            f"{folder}: other processes are training {', '.join(busy)}; wait until they end, or train one of the "
            "others with --only"
        )
    return exclusive_lock(folder)


def _lock_name(training: Training) -> str:
    return f".{training.name}.lock"
