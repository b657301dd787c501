"""Fixture that runs an experiment in an empty folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gan.experiments.classify.experiment import run_classification
from tests.helpers.classifications import RUN, Run


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run experiment `r` in an empty folder; return classify.json."""
    monkeypatch.chdir(tmp_path)

    def classified(**given: Any) -> dict[str, Any]:
        assert run_classification("r", given, device="cpu") is None
        return json.loads((RUN / "classify.json").read_text())

    return classified
