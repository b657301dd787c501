"""Small experiments of `classify`, named `r`."""

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
    """Call something with each training before each of its steps."""
    real = ClassifierTrainer.train_step

    def watched(job: ClassifierTrainer) -> None:
        action(job)
        real(job)

    patch.setattr(ClassifierTrainer, "train_step", watched)
