"""Small runs, named `r`, of several ranks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from gan.runs import checkpoint
from tests.helpers.jobs import Ended, command

STEPS = 12
SMALL = (
    "--g-width 4 --d-width 4 --latent-dim 8 --batch 8 --precision fp32 --device cpu --log-every 3 "
    f"--checkpoint-every 4 --report-every 0 --flip --steps {STEPS}"
).split()


def train(folder: Path, count: int, *flags: Any, before: Callable[[], None] | None = None) -> list[Ended]:
    return command(folder, count, "train", "r", *flags, before=before)


def state_of(folder: Path, step: int = STEPS) -> dict[str, Any]:
    state = checkpoint.load_checkpoint(checkpoint.checkpoint_path(folder / "checkpoints" / "r", step))
    del state["seconds"]
    return state
