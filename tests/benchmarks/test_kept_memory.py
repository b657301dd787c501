"""The benchmark of kept memory: measurements of a training, ratios within a round."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import kept_memory
import pytest

SMALL = "--g-width 4 --d-width 4 --latent-dim 8 --batch 8"


def test_a_training_is_measured() -> None:
    found = kept_memory.measure(SMALL, 2, "given-back")
    assert 0 < found["seconds"] < 60 and found["pages"] >= 0 and found["bytes"] > 1e7


def test_ratios_are_taken_within_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    seconds = {"kept": iter([1.0, 2.0, 4.0]), "given-back": iter([1.5, 2.0, 8.0])}

    def run(command: list[str], **options: Any) -> SimpleNamespace:
        asked.append(command[-1])
        return SimpleNamespace(stdout=json.dumps({"seconds": next(seconds[command[-1]]), "pages": 5, "bytes": 2e6}))

    monkeypatch.setattr(kept_memory.subprocess, "run", run)
    printed = kept_memory.compare(SMALL, 3, 2)
    assert asked == ["given-back", "kept", "kept", "given-back", "given-back", "kept"]
    assert printed.startswith(
        "1.50 times as fast (1.25 to 1.75); kept 0.50 steps/s, 5 pages a step, 2 MB; given-back 0.50"
    )
