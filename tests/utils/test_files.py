"""Relative paths; atomic writes are tested where they are used."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gan.utils.files import relative_path


def test_relative_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert relative_path(tmp_path / "samples" / "a.png", tmp_path / "checkpoints") == "../samples/a.png"

    def other_drive(*_: object) -> str:
        raise ValueError("path is on mount 'D:', start on mount 'C:'")

    monkeypatch.setattr(os.path, "relpath", other_drive)  # as on Windows
    assert relative_path(tmp_path / "a.png", tmp_path) == (tmp_path / "a.png").as_posix()
