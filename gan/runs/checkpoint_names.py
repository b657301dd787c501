"""Names of checkpoint files, without the code that reads them, which imports torch."""

from pathlib import Path

STEP_PATTERN = "step-" + 8 * "[0-9]"
"""Glob pattern of the names of checkpoints and sample grids, without the ending."""


def checkpoint_path(folder: Path, step: int) -> Path:
    """Path of the checkpoint of a step: `step-00001000.pt`."""
    return folder / f"step-{step:08d}.pt"


def list_checkpoints(folder: Path) -> list[Path]:
    """Paths of the checkpoints in a run's folder, oldest first."""
    return sorted(folder.glob(f"{STEP_PATTERN}.pt"))
