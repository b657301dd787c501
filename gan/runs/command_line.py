"""Parts of command lines that a user can copy: the name of this program, and the flags that locate a run."""

import os
import sys
from pathlib import Path


def program_name() -> str:
    """The command that starts this program: its installed name, or the interpreter and script of a clone."""
    if not sys.argv[0].endswith(".py"):
        return "msn-gan"
    python = os.path.relpath(sys.executable)
    script = "-m gan" if Path(sys.argv[0]).name == "__main__.py" else sys.argv[0]
    return f"{'python' if python.startswith('..') else python} {script}"


def location_flags(root: Path, device: str = "auto") -> list[str]:
    """The flags --out and --device, where they differ from their defaults."""
    return ([] if root == Path() else ["--out", str(root)]) + ([] if device == "auto" else ["--device", device])
