"""A comparison that was left alone, and charts that take no time."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.helpers.comparisons import SMALL, compare
from tests.helpers.runs import plain_chart


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three norms, two seeds: left alone."""
    root = tmp_path_factory.mktemp("made")
    compare(root, **{**SMALL, "norms": ["sn", "msn", "bn"], "seeds": 2})
    return root


@pytest.fixture(autouse=True)
def _plain_charts(monkeypatch: pytest.MonkeyPatch) -> None:
    """But for `made`, whose charts are drawn: they take most of the time."""
    monkeypatch.setattr("gan.report.charts.svg_chart", plain_chart)


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "copy"))
