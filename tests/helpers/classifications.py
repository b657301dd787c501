"""Small classifications, named `r`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gan.experiments.classify.trainer import ClassifierTrainer

SMALL: dict[str, Any] = {"model": "cnn3", "resolution": 8, "batch": 20, "epochs": 2, "limit": 40, "precision": "fp32"}
RUN = Path("checkpoints/r")
Run = Callable[..., dict[str, Any]]


def before_each_step(patch: pytest.MonkeyPatch, action: Callable[[ClassifierTrainer], object]) -> None:
    """Call `action` with the trainer before each training step."""
    real = ClassifierTrainer.train_step

    def wrapped(trainer: ClassifierTrainer) -> None:
        action(trainer)
        real(trainer)

    patch.setattr(ClassifierTrainer, "train_step", wrapped)
