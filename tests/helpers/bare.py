"""A Python in which nothing but ONNX Runtime and numpy can be imported: no torch, none of this program."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_ABSENT = ("torch", "torchvision", "gan", "onnx", "onnxscript", "PIL", "scipy", "sklearn")
_BARE = """
import runpy, sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {absent!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
try:
    import torch
except ModuleNotFoundError:
    pass
else:
    sys.exit("torch was found")
sys.argv = {argv!r}
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run_bare(program: Path, *arguments: str) -> str:
    """Run a program there; returns what it printed."""
    code = _BARE.format(absent=_ABSENT, argv=[str(program), *arguments])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout
