"""Small experiments of `classify`, named `r`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

SMALL: dict[str, Any] = {"model": "cnn3", "resolution": 8, "batch": 20, "epochs": 2, "limit": 40, "precision": "fp32"}
RUN = Path("checkpoints/r")
Run = Callable[..., dict[str, Any]]
