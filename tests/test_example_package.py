"""examples/msn-gan-soft-norm: installed by pip, its norm is a name like the built-in ones."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SIZE = "--steps 2 --batch 8 --g-width 4 --d-width 4 --report-every 0".split()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="paths of a POSIX environment")
def test_an_installed_norm(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", minversion="77")
    pytest.importorskip("pip", minversion="22.3")
    venv.create(tmp_path / "venv")
    python = tmp_path / "venv/bin/python"
    # The packages that run the tests, and this msn-gan.
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    (site / "host.pth").write_text(f"{ROOT}\n{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n")
    package = shutil.copytree(ROOT / "examples/msn-gan-soft-norm", tmp_path / "package")

    def run(*words: str | Path, code: int = 0) -> str:
        done = subprocess.run(list(map(str, words)), capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python)
    run(*pip, "install", "--no-index", "--no-deps", "--no-build-isolation", package)
    gan = (python, "-m", "gan")
    assert "|soft\n" in run(*gan, "train", "--help")
    assert "msn_gan_soft_norm:soft" in run(*gan, "train", "r", "--norm", "soft+mean", *SIZE)
    record = json.loads((tmp_path / "checkpoints/r/config.json").read_text())
    assert record["config"]["norm"] == "msn_gan_soft_norm:soft+mean"
    assert record["plugins"]["msn_gan_soft_norm:soft"]["version"] == "0.1.0"
    assert len(record["plugins"]["msn_gan_soft_norm:soft"]["sha256"]) == 64

    run(*pip, "uninstall", "--yes", "msn-gan-soft-norm")
    run(*gan, "sample", "checkpoints/r", "--num", "4", "--out", "r.png")
    assert (tmp_path / "r.png").exists()
    resume = ("train", "r", "--resume", "--steps", "4")
    assert "add --norm msn_gan_soft_norm:soft+mean" in run(*gan, *resume, code=2)
    assert "'soft' is unknown" in run(*gan, *resume, "--norm", "soft+mean", code=2)
    told = run(*gan, *resume, "--norm", "msn_gan_soft_norm:soft+mean", code=2)
    assert "there is no module msn_gan_soft_norm; install its package" in told
