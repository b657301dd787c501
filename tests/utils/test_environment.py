"""Timing of work on a device."""

from __future__ import annotations

import pytest
import torch

from gan.utils.environment import time_work


@pytest.mark.parametrize("kind", ["cuda", "mps", "cpu"])
def test_a_gpu_is_waited_for_before_and_after(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work on a GPU returns at once: without a wait, only its launch would be timed."""
    done: list[str] = []
    for name in ("cuda", "mps"):
        monkeypatch.setattr(getattr(torch, name), "synchronize", lambda name=name: done.append(name))
    assert time_work(lambda: done.append("work"), torch.device(kind)) >= 0
    assert done == (["work"] if kind == "cpu" else [kind, "work", kind])
