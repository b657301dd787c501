"""Command lines that a user can copy: how this program was called, and the flags that name a run's place"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def program_name() -> str:
    """How this program was called: installed, or from a clone with the interpreter of its environment."""
    if not sys.argv[0].endswith(".py"):
        return "msn-gan"
    python = os.path.relpath(sys.executable)
    script = "-m gan" if Path(sys.argv[0]).name == "__main__.py" else sys.argv[0]
    return f"{'python' if python.startswith('..') else python} {script}"


def location_flags(root: Path, device: str = "auto") -> list[str]:
    """The words with which a command finds a run again that is not where it looks by itself."""
    return ([] if root == Path() else ["--out", str(root)]) + ([] if device == "auto" else ["--device", device])
