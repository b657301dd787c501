"""Training dynamics of a run, where they were recorded: `dynamics.jsonl` in its folder, a line for each look."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from gan import runlog

FILE = "dynamics.jsonl"


def read(folder: Path) -> dict[str, list[list[float]]]:
    """Curves by the name of what was looked at, each as steps and values; empty where nothing was recorded.

    A line has `step`, and numbers, or numbers by the name of a layer, of which the mean is taken.

    Args:
        folder: the run's folder of checkpoints.
    """
    found: dict[str, list[list[float]]] = {}
    for entry in runlog.read(folder / FILE):
        for name, value in entry.items():
            number = _number(value)
            if name != "step" and number is not None:
                steps, values = found.setdefault(name, [[], []])
                steps.append(entry["step"])
                values.append(number)
    return found


def _number(value: Any) -> float | None:
    if isinstance(value, Mapping):
        parts = [number for part in value.values() if (number := _number(part)) is not None]
        return fmean(parts) if parts else None
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
