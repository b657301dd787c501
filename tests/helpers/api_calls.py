"""Calls of the Python API on tiny runs, and the same commands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gan.cli import main
from gan.runs import checkpoint
from tests.conftest import TINY
from tests.helpers.commands import SMALL

SETTINGS: dict[str, Any] = {**TINY, "channels": 1, "report_every": 0, "device": "cpu"}
GREY = [*SMALL, "--channels", "1", "--log-every", "2", "--sample-every", "4", "--report-every", "0", "--device", "cpu"]
quiet = pytest.mark.filterwarnings("ignore::gan.GANWarning")


def command(*words: object) -> None:
    """Run a command; it must exit with 0."""
    with pytest.raises(SystemExit) as stopped:
        main([str(word) for word in words])
    assert not stopped.value.code


def state_of(path: Path) -> dict[str, Any]:
    state = checkpoint.load_checkpoint(path)
    del state["seconds"]
    return state
