"""Fixtures: an uninterrupted comparison, and charts without plotting."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.helpers.comparisons import SMALL, compare
from tests.helpers.runs import plain_chart


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted comparison of three norms and two seeds."""
    root = tmp_path_factory.mktemp("made")
    compare(root, **{**SMALL, "norms": ["sn", "msn", "bn"], "seeds": 2})
    return root


@pytest.fixture(autouse=True)
def _plain_charts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace plotting, which takes most of the time, except in `made`."""
    monkeypatch.setattr("gan.report.charts.svg_chart", plain_chart)
    monkeypatch.setattr("gan.report.charts.svg_forest", plain_chart)


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "copy"))
