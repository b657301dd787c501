"""The command line as the tests use it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

SMALL = "--g-width 4 --d-width 4 --latent-dim 8 --batch 8 --steps 4 --checkpoint-every 2 --precision fp32".split()
Call = Callable[..., tuple[int, str]]


def refused(call: Call, code: int, *parts: str, command: tuple[str, ...]) -> None:
    """The command ends with this code and one line that has these parts, and leaves nothing behind."""
    before = set(Path().rglob("*"))
    got, told = call(*command)
    lines = [line for line in told.splitlines() if line.startswith("msn-gan: ")]
    assert got == code, told
    assert len(lines) == 1 and "Traceback" not in told, told
    for part in parts:
        assert part in told, told
    left = [path for path in set(Path().rglob("*")) - before if path.is_file() and "cache" not in path.parts]
    assert left == []


def picture(path: Path, size: tuple[int, int] = (32, 32), mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(len(path.name)).integers(0, 256, (*size, 3), dtype=np.uint8)).convert(
        mode
    ).save(path)
    return path
