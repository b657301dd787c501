"""`--jobs` in a dry run: the trainings at a time that an estimate assumes, and the threads when steps are timed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from gan.training.dry_run import format_duration
from gan.utils.cores import available_cores, threads_of


def estimated_jobs(jobs: int | None, trainings: int, device: torch.device) -> int:
    """Trainings at a time that use a core or GPU of their own; with --jobs auto one for each GPU, and one on a CPU.

    Args:
        jobs: value of --jobs; None: auto.
        trainings: number of trainings that are left.
    """
    places = available_cores() if device.type == "cpu" else max(1, torch.cuda.device_count())  # one with mps
    if jobs is None:
        jobs = 1 if device.type == "cpu" else places
    return max(1, min(jobs, trainings, places))


def time_in_all(seconds: Sequence[float], jobs: int) -> str:
    """The time of all trainings in words.

    Args:
        seconds: time of each training.
        jobs: trainings at a time.
    """
    text = format_duration(max(sum(seconds) / jobs, *seconds, 0.0))
    return text if jobs == 1 else f"{text}, {jobs} trainings at a time"


@contextmanager
def threads_of_jobs(jobs: int) -> Iterator[None]:
    """Give torch the threads of one of several trainings at a time for the block; a single one has them all."""
    before = torch.get_num_threads()
    torch.set_num_threads(before if jobs == 1 else threads_of(jobs))
    try:
        yield
    finally:
        torch.set_num_threads(before)
