"""A run that the command line made."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.commands import SMALL, Call


@pytest.fixture
def trained(call: Call, image_folder: Path) -> Path:
    assert call("train", "r", "--preset", "quickstart", "--data", image_folder, *SMALL)[0] == 0
    return Path("checkpoints/r/step-00000004.pt")
