"""How work is timed."""

from __future__ import annotations

import pytest
import torch

from gan.utils.environment import time_work


@pytest.mark.parametrize("kind", ["cuda", "mps", "cpu"])
def test_a_gpu_is_waited_for_before_and_after(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a GPU was asked for returns at once: without waiting one would time the asking."""
    done: list[str] = []
    for name in ("cuda", "mps"):
        monkeypatch.setattr(getattr(torch, name), "synchronize", lambda name=name: done.append(name))
    assert time_work(lambda: done.append("work"), torch.device(kind)) >= 0
    assert done == (["work"] if kind == "cpu" else [kind, "work", kind])
