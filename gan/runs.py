"""The folders of a run, its config.json, and where a resumed run goes on."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

from gan import checkpoint
from gan.config import TrainConfig
from gan.errors import UsageError, UserError
from gan.files import remove_partial, write_json

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

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
            UserError: best.json cannot be written.
        """
        name = checkpoint.checkpoint_path(self.checkpoints, step).name
        write_json(self.checkpoints / "best.json", {"checkpoint": name, "step": step, **scores})

    def require_own(self) -> None:
        """Let it pass if it is a run of `train`, or has not begun.

        Raises:
            UsageError: it is a run of another command.
        """
        try:
            kind = json.loads(self.config_path.read_text()).get("kind")
        except (OSError, ValueError, AttributeError):
            return
        if kind is not None:
            raise UsageError(f"RUN {self.name}: is a run of {kind} ({self.checkpoints}); choose another name")

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

    def update_config(self, config: Stated) -> None:
        """Write the settings with which a run goes on into its config.json, which keeps what else it says.

        Raises:
            UserError: the file cannot be written.
        """
        try:
            content = json.loads(self.config_path.read_text())
            changed = content["config"] != config.to_dict()
        except (OSError, ValueError, KeyError, TypeError):
            return  # the checkpoints have the settings too
        if changed:
            write_json(self.config_path, {**content, "config": config.to_dict()})

    def write_config(self, config: Stated, extra: dict[str, Any]) -> None:
        """Write config.json: the settings, what `extra` adds, versions and the git commit of the program.

        Raises:
            UserError: the file cannot be written.
        """
        content = {"config": config.to_dict(), **extra, "versions": versions(), "command": sys.argv}
        write_json(self.config_path, content)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep other processes from training in a run's folder meanwhile.

    The folder is made if need be, and then removed if it stays empty.

    Raises:
        UserError: another process holds it, or it cannot be made.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    _make(folder)
    descriptor = os.open(folder, os.O_RDONLY) if fcntl else None
    try:
        if descriptor is not None:
            _lock(descriptor, folder)
        try:
            yield
        finally:
            with suppress(OSError):
                for path in made:
                    path.rmdir()
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UserError(f"{folder}: another process is training there; let it end, or choose another name") from error
    except OSError:
        pass  # a file system that knows no locks


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be made: {error.strerror}; choose another --out") from error


def make_folder(folder: Path) -> None:
    """Make a folder for a run's files, and clear away what a killed run left half-written in it.

    Raises:
        UserError: it cannot be made or written to.
    """
    _make(folder)
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


def output_name(path: Path) -> Path:
    """What is made of a checkpoint, run, folder or zip is called by default: RUN or RUN/step-…, or its own name.

    Two runs never share it, for it is the path below the folder `checkpoints`, where there is one.
    """
    whole = path.resolve()
    parts = whole.parts
    inside = parts[len(parts) - parts[::-1].index("checkpoints") :] if "checkpoints" in parts else parts[-1:]
    name = Path(*inside) if inside else Path(whole.name)
    return name.with_suffix("") if whole.is_file() else name


def program() -> str:
    """How this program was called: installed, or from a clone with the interpreter of its environment."""
    if not sys.argv[0].endswith(".py"):
        return "msn-gan"
    python = os.path.relpath(sys.executable)
    script = "-m gan" if Path(sys.argv[0]).name == "__main__.py" else sys.argv[0]
    return f"{'python' if python.startswith('..') else python} {script}"


def place_flags(root: Path, device: str = "auto") -> list[str]:
    """The words with which a command finds a run again that is not where it looks by itself."""
    return ([] if root == Path() else ["--out", str(root)]) + ([] if device == "auto" else ["--device", device])


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


def unlike_config(run: RunFolder, settings: TrainConfig) -> list[str]:
    """What config.json says of a run otherwise than the settings with which it goes on, as words of a command line.

    It was edited by hand, or the run was killed before it had a checkpoint with the settings that it was resumed with.
    """
    try:
        written = TrainConfig.from_dict(json.loads(run.config_path.read_text())["config"])
    except (OSError, ValueError, KeyError, TypeError, UsageError):
        return []  # a run goes on without it
    return written.flags(settings)


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
