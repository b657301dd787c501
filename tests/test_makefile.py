"""What make would run: `make train` installs nothing that only tests need, and says beforehand what it installs."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")


ROOT = Path(__file__).parent.parent


def make(*words: str) -> str:
    """The output of make, which is not told that `make test` has started it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(["make", *words], capture_output=True, text=True, check=True, cwd=ROOT, env=environment)
    return done.stdout


def planned(target: str, tmp_path: Path) -> str:
    """The commands of a target in a clone without an environment."""
    return make("--dry-run", target, f"VENV={tmp_path / 'venv'}")


def test_training_needs_no_tools_of_tests(tmp_path: Path) -> None:
    train, test = planned("train", tmp_path), planned("test", tmp_path)
    assert "[dev]" not in train and "pip install" in train and "GB on disk" in train
    assert "--quiet" not in train  # pip shows its progress
    assert train.index("GB on disk") < train.index("pip install")
    assert "'.[dev]'" in test and "pytest" in test


def test_every_target_is_listed() -> None:
    listed = make("help")
    phony = next(line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith(".PHONY:"))
    assert {line.split("\t")[0] for line in listed.splitlines()} == set(phony.split()[1:])
