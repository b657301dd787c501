"""The folders of a run, its config.json, and where a resumed run goes on."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

from gan import checkpoint
from gan.config import TrainConfig
from gan.errors import UsageError, UserError
from gan.files import remove_partial, replacing

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PACKAGES = ("torch", "torchvision", "numpy", "pillow")


class Stated(Protocol):
    """Settings of any kind."""

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        ...


@dataclass(frozen=True)
class RunFolder:
    """Where a run keeps its files: `checkpoints/NAME` and `samples/NAME` below `root`."""

    name: str
    root: Path = Path()

    def __post_init__(self) -> None:
        if not all(_NAME.fullmatch(part) for part in self.name.split("/")):
            raise UsageError(
                f"RUN {self.name!r}: use letters, digits, '.', '_' and '-', and begin with a letter or digit"
            )

    @property
    def checkpoints(self) -> Path:
        """Checkpoints, log, events, config.json."""
        return self.root / "checkpoints" / self.name

    @property
    def samples(self) -> Path:
        """Sample grids."""
        return self.root / "samples" / self.name

    @property
    def config_path(self) -> Path:
        """The settings of the run."""
        return self.checkpoints / "config.json"

    def sample_path(self, step: int) -> Path:
        """The sample grid of a step."""
        return self.samples / f"step-{step:08d}.png"

    def best(self) -> list[str]:
        """File names of checkpoints that pruning keeps: those that best.json names."""
        best = self.read_best()
        return [best["checkpoint"]] if "checkpoint" in best else []

    def read_best(self) -> dict[str, Any]:
        """What best.json says: `checkpoint`, `step`, scores and their protocol. Nothing, where there is none."""
        try:
            best = json.loads((self.checkpoints / "best.json").read_text())
        except (OSError, ValueError):
            return {}
        return best if isinstance(best, dict) else {}

    def write_best(self, step: int, scores: dict[str, Any]) -> None:
        """Name the checkpoint of a step as the best, for its scores.

        Raises:
            OSError: best.json cannot be written.
        """
        content = {"checkpoint": checkpoint.checkpoint_path(self.checkpoints, step).name, "step": step, **scores}
        with replacing(self.checkpoints / "best.json") as file:
            file.write(json.dumps(content, indent=2).encode() + b"\n")

    def exists(self) -> bool:
        """Whether a run of this name has begun: it has settings or checkpoints to lose."""
        return self.config_path.exists() or bool(checkpoint.listed(self.checkpoints))

    def create(self) -> None:
        """Make both folders and clear away what a killed run left half-written.

        Raises:
            UserError: a folder cannot be made or written to.
        """
        for folder in (self.checkpoints, self.samples):
            make_folder(folder)

    def remove_empty(self) -> None:
        """Remove the folders of a run that could not begin, as far as there is nothing in them."""
        for folder in (self.checkpoints, self.samples):
            with suppress(OSError):
                folder.rmdir()

    def write_config(self, config: Stated, extra: dict[str, Any]) -> None:
        """Write config.json: the settings, what `extra` adds, versions and the git commit of the program.

        Raises:
            UserError: the file cannot be written.
        """
        content = {"config": config.to_dict(), **extra, "versions": versions(), "command": sys.argv}
        try:
            with replacing(self.config_path) as file:
                file.write(json.dumps(content, indent=2).encode() + b"\n")
        except OSError as error:
            raise UserError(f"{self.config_path}: cannot be written: {error.strerror}") from error


def make_folder(folder: Path) -> None:
    """Make a folder for a run's files, and clear away what a killed run left half-written in it.

    Raises:
        UserError: it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be made: {error.strerror}; choose another --out") from error
    if not os.access(folder, os.W_OK):
        raise UserError(f"{folder}: is not writable; change its permissions or choose another --out")
    remove_partial(folder)


def versions() -> dict[str, str]:
    """Versions of the program, of Python and of the packages that decide results, and the program's git commit."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in ("msn-gan", *_PACKAGES):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    source = Path(__file__).parent.parent
    if (source / ".git").exists():
        command = ["git", "-C", str(source), "rev-parse", "HEAD"]
        try:
            commit = subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.strip()
        except (OSError, subprocess.TimeoutExpired):
            commit = ""
        found["git"] = commit or "unknown"
    return found


def program() -> str:
    """How this program was called: installed, or from a clone with the interpreter of its environment."""
    if not sys.argv[0].endswith(".py"):
        return "msn-gan"
    python = os.path.relpath(sys.executable)
    return f"{'python' if python.startswith('..') else python} {sys.argv[0]}"


def resumed(run: RunFolder) -> tuple[TrainConfig, dict[str, Any] | None]:
    """The settings of a run that is to go on and the state of its newest whole checkpoint, None if it has none yet.

    Raises:
        UserError: there is no such run, or none of its checkpoints is whole.
    """
    if not run.exists():
        raise UserError(f"--resume: there is no run {run.checkpoints}; start it without --resume")
    found = checkpoint.newest(run.checkpoints)
    if found is not None:
        return config_of(found[1], found[0]), found[1]
    try:
        return TrainConfig.from_dict(json.loads(run.config_path.read_text())["config"]), None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{run.config_path}: cannot be read ({error}); remove the folder and start again") from error


def config_of(state: dict[str, Any], path: Path) -> TrainConfig:
    """The settings that a checkpoint was written with.

    Raises:
        UserError: it is a checkpoint of another kind, or its settings are not known to this version.
    """
    if state.get("kind") != "gan":
        raise UserError(f"{path}: is not a checkpoint of a GAN (kind: {state.get('kind', 'none')})")
    try:
        return TrainConfig.from_dict(state["config"])
    except (KeyError, UsageError) as error:
        raise UserError(f"{path}: its settings do not fit this version of msn-gan: {error}") from error
