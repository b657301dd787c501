"""What make would run: `make train` installs nothing that only tests need, and says beforehand what it installs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")


def planned(target: str, tmp_path: Path) -> str:
    """The commands of a target in a clone without an environment."""
    words = ["make", "--dry-run", target, f"VENV={tmp_path / 'venv'}"]
    return subprocess.run(words, capture_output=True, text=True, check=True, cwd=Path(__file__).parent.parent).stdout


def test_training_needs_no_tools_of_tests(tmp_path: Path) -> None:
    train, test = planned("train", tmp_path), planned("test", tmp_path)
    assert "[dev]" not in train and "pip install" in train and "GB on disk" in train
    assert "--quiet" not in train  # pip shows its progress
    assert train.index("GB on disk") < train.index("pip install")
    assert "'.[dev]'" in test and "pytest" in test


def test_every_target_is_listed() -> None:
    root = Path(__file__).parent.parent
    listed = subprocess.run(["make", "help"], capture_output=True, text=True, check=True, cwd=root).stdout
    phony = next(line for line in (root / "Makefile").read_text().splitlines() if line.startswith(".PHONY:"))
    assert {line.split("\t")[0] for line in listed.splitlines()} == set(phony.split()[1:])
