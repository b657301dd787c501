"""Fixtures: charts without plotting, and an uninterrupted comparison with one job."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.comparisons import SMALL, compare
from tests.helpers.runs import plain_chart


@pytest.fixture(autouse=True)
def _plain_charts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace plotting, which takes most of the time."""
    monkeypatch.setattr("gan.report.charts.svg_chart", plain_chart)


@pytest.fixture(scope="session")
def one_job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison of two norms and two seeds, trained one after another."""
    root = tmp_path_factory.mktemp("one-job")
    compare(root, **{**SMALL, "seeds": 2})
    return root


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """In each process, as in the tests' own."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def _nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Warnings that are printed once in a process are new to each test."""
    monkeypatch.setattr("gan.utils.progress._said", set())
