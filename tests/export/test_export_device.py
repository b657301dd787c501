"""The program of docs/embedded.md on a device: an environment that has ONNX Runtime and numpy, and nothing else."""

from __future__ import annotations

import subprocess
import venv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gan.export.export import ExportOptions, export_network

pytest.importorskip("onnxruntime", reason="needs the extra: pip install msn-gan[onnx]")

ROOT = Path(__file__).parents[2]


@pytest.mark.slow  # it installs packages; CI runs it by name
def test_the_example_in_an_environment_of_its_own(made: Path, tmp_path: Path) -> None:
    generator = export_network(ExportOptions(made / "checkpoints" / "plain", uint8=True, out=tmp_path / "g.onnx"))
    venv.create(tmp_path / "device", with_pip=True)
    python = tmp_path / "device" / "bin" / "python"

    def run(*arguments: object, code: int = 0) -> str:
        done = subprocess.run([python, *map(str, arguments)], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == code, done.stderr
        return done.stderr

    run("-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", "onnxruntime", "numpy")
    assert "No module named 'torch'" in run("-c", "import torch", code=1)
    run(ROOT / "examples" / "generate_onnx.py", generator, tmp_path / "grid.png")
    grid = np.asarray(Image.open(tmp_path / "grid.png"))
    assert grid.shape == (256, 256) and grid.dtype == np.uint8 and grid.std() > 0
