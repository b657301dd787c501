"""The folders of a run, its config.json, and where a resumed run goes on."""

from __future__ import annotations

import json
import re
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from gan.errors import UsageError
from gan.runs import checkpoint
from gan.utils.environment import program_versions
from gan.utils.files import prepare_folder, write_json

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Stated(Protocol):
    """Settings of any kind."""

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        ...


@dataclass(frozen=True)
class RunDirectory:
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
        return self.config_path.exists() or bool(checkpoint.list_checkpoints(self.checkpoints))

    def create(self) -> None:
        """Make both folders and clear away what a killed run left half-written.

        Raises:
            UserError: a folder cannot be made or written to.
        """
        for folder in (self.checkpoints, self.samples):
            prepare_folder(folder)

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
        content = {"config": config.to_dict(), **extra, "versions": program_versions(), "command": sys.argv}
        write_json(self.config_path, content)


def default_output_name(path: Path) -> Path:
    """What is made of a checkpoint, run, folder or zip is called by default: RUN or RUN/step-…, or its own name.

    Two runs never share it, for it is the path below the folder `checkpoints`, where there is one.
    """
    whole = path.resolve()
    parts = whole.parts
    inside = parts[len(parts) - parts[::-1].index("checkpoints") :] if "checkpoints" in parts else parts[-1:]
    name = Path(*inside) if inside else Path(whole.name)
    return name.with_suffix("") if whole.is_file() else name
