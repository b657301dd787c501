"""List the runs of a folder from config.json, best.json and file names; no checkpoint is read."""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gan.runs.checkpoint_names import list_checkpoints


@dataclass(frozen=True)
class RunSummary:
    """One run of `train`, `compare` or `classify`."""

    name: str
    command: str
    """The command that made it."""
    preset: str
    norms: tuple[str, ...]
    step: int
    """Of the newest checkpoint; 0 without one, and for `compare` and `classify`."""
    steps: int
    """Planned steps of a run of `train`."""
    best: dict[str, Any]
    """best.json: `step`, scores and protocol; empty if the run was not scored."""
    size: int
    """Bytes of all files in its folders of checkpoints and samples."""
    changed: float
    """Time of its last change, seconds since the epoch."""


def list_runs(root: Path) -> list[RunSummary]:
    """The runs in `checkpoints/` of a folder, newest first; those of a comparison are part of it.

    Folders without a readable config.json are left out.
    """
    runs = [_summary(folder, root) for folder in _run_folders(root / "checkpoints")]
    return sorted((run for run in runs if run), key=lambda run: -run.changed)


def _run_folders(checkpoints: Path) -> Iterator[Path]:
    """Folders with a config.json at any depth, but for those within a comparison or an experiment of `classify`."""
    patterns = ("*/config.json", "*/*/**/config.json")  # unlike **, * finds folders that are links
    experiments: set[Path] = set()
    for folder in sorted(path.parent for pattern in patterns for path in checkpoints.glob(pattern)):
        if experiments.isdisjoint(folder.parents):
            yield folder
            if "kind" in read_object(folder / "config.json"):
                experiments.add(folder)


def _summary(folder: Path, root: Path) -> RunSummary | None:
    name = folder.relative_to(root / "checkpoints").as_posix()
    content = read_object(folder / "config.json")
    config = content.get("config")
    if not isinstance(config, dict):
        return None
    command = str(content.get("kind", "train"))
    shared = config.get("train", config)  # of a comparison
    newest = list_checkpoints(folder)
    norms = config.get("norms") or [config.get("norm", "")]
    files = [path for kind in (folder, root / "samples" / name) for path in kind.rglob("*") if path.is_file()]
    states = []
    for path in files:
        with suppress(OSError):  # a run in progress removes files
            states.append(path.stat())
    return RunSummary(
        name=name,
        command=command,
        preset=str(shared.get("preset") or shared.get("model", "")),
        norms=tuple(map(str, norms)),
        step=int(newest[-1].stem.removeprefix("step-")) if newest else 0,
        steps=int(shared.get("steps", 0)) if command == "train" else 0,
        best=read_object(folder / "best.json"),
        size=sum(state.st_size for state in states),
        changed=max((state.st_mtime for state in states), default=0.0),
    )


def run_path(path: Path) -> Path:
    """The path, or the folder `checkpoints/NAME` if there is only that."""
    folder = Path("checkpoints") / path
    return folder if not path.exists() and folder.is_dir() else path


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object; empty if it cannot be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
