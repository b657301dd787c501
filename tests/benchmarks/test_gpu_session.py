"""`gpu_session.sh` runs to its end on a CPU, with tiny settings."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.documentation.pages import ROOT

FILES = [
    *(f"{part}.json" for part in ("bench-bf16", "bench-fp32", "features", "r3gan", "scores")),
    *(f"speed-{preset}-{batch}.json" for preset in ("msn-dcgan", "sngan-resnet") for batch in (64, 128, 512)),
    *(f"{part}-{name}" for part in ("dcgan", "resnet") for name in ("report.json", "report.html")),
]


def test_its_folder_of_runs_is_removed(tmp_path: Path, write_images: Callable[..., Path]) -> None:
    data, runs = write_images("train.zip", 2), tmp_path / "runs"
    runs.mkdir()
    done = subprocess.run(
        ["bash", str(ROOT / "benchmarks" / "gpu_session.sh"), data, data, str(tmp_path / "out"), "nonsense"],
        capture_output=True,
        text=True,
        env={**os.environ, "DRY": "1", "PYTHON": sys.executable, "TMPDIR": str(runs)},
    )
    assert done.returncode == 2 and "no such part: nonsense" in done.stderr
    assert list(runs.iterdir()) == []


@pytest.mark.slow
def test_all_parts_run(tmp_path: Path, write_images: Callable[..., Path]) -> None:
    pytest.importorskip("pytorch_fid", reason="scores are compared with pytorch-fid's")
    data = [write_images(name, 60, "ab") for name in ("train.zip", "test.zip")]
    out = tmp_path / "out"
    done = subprocess.run(
        ["bash", str(ROOT / "benchmarks" / "gpu_session.sh"), *map(str, data), str(out)],
        capture_output=True,
        text=True,
        env={**os.environ, "DRY": "1", "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert [name for name in FILES if not (out / name).exists()] == []
    parts = [line for line in (out / "session.log").read_text().splitlines() if line.startswith("== ")]
    assert len(parts) == 19 and done.stdout.splitlines().count("   done") == 19
