"""A new virtual environment, with packages installed from the registry or taken from the present Python."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("install", "present")
"""Where dependencies come from: pip, with constraints.txt (6 GB), or the Python that runs this program."""


def create_environment(folder: Path, packages: str) -> Path:
    """Create a virtual environment; return its Python.

    Args:
        folder: of the new environment.
        packages: `install`: it is empty; `present`: the packages of this Python can be imported, except for its
            msn-gan if that is an editable installation; what is installed into the environment comes first.
    """
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if packages == "present":
        site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
        # Python does not read the .pth files in a folder that a .pth file names: an editable msn-gan stays hidden.
        Path(site, "present.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def pip_install(python: Path, *requirements: object, packages: str, root: Path = ROOT) -> None:
    """Install into an environment, with the versions of constraints.txt; without dependencies if they are `present`.

    Args:
        root: the clone that has constraints.txt.
    """
    flags = ["--no-deps", "--no-index"] if packages == "present" else ["-c", str(root / "constraints.txt")]
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *flags, *map(str, requirements))


def run(python: Path | str, *words: object, folder: Path | None = None) -> str:
    """Run Python without PYTHONPATH; return what it wrote, or end this program with it if it failed."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    command = [str(python), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout
