"""Commands in an empty folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from gan.cli import main
from tests.commands import SMALL, Call


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run a command in an empty folder; returns its exit code and what it wrote to standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        code = stopped.value.code
        return int(code or 0), capsys.readouterr().err

    return run


@pytest.fixture
def trained(call: Call, image_folder: Path) -> Path:
    assert call("train", "r", "--data", image_folder, *SMALL)[0] == 0
    return Path("checkpoints/r/step-00000004.pt")
