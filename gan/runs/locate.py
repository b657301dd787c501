"""Find the checkpoint at a path, and say what a folder that is no run contains"""

import shlex
from pathlib import Path

from gan.data.source import list_names
from gan.errors import UsageError, UserError
from gan.runs import checkpoint
from gan.runs.checkpoint import CLASSIFIER_FILE, CheckpointFile
from gan.runs.checkpoint_names import STEP_PATTERN
from gan.runs.command_line import program_name
from gan.runs.listing import read_object
from gan.utils.counted import counted

_MAX_LISTED = 3  # names in a message


def find_checkpoint(path: Path, command: str) -> CheckpointFile:
    """Read a checkpoint file, or the newest valid one in a run's folder.

    Args:
        command: see `describe_contents`.

    Raises:
        UsageError: the folder is that of a comparison, of classifiers or of several runs.
        UserError: there is no valid checkpoint.
    """
    if not path.exists():
        raise UserError(
            f"{path}: no such checkpoint or run; give a step-….pt file, or a run's folder such as checkpoints/RUN"
        )
    if not path.is_dir():
        return checkpoint.read_checkpoint(path)
    newest = checkpoint.newest_checkpoint(path)
    if newest is None:
        if contents := describe_contents(path, command):
            raise UsageError(f"{path}: {contents}")
        raise UserError(f"{path}: contains no checkpoint (step-….pt)")
    return newest


def describe_contents(folder: Path, command: str) -> str | None:
    """Describe a folder without checkpoints of its own, and the command that works instead.

    Args:
        folder: of a comparison, of classifiers, or of runs; None is returned for other folders.
        command: the words before the folder in the command that reads it, such as `report` or `train --init`.
    """
    kind = _kind(folder)
    classifiers = sorted([*folder.glob(CLASSIFIER_FILE), *folder.glob(f"*/{CLASSIFIER_FILE}")])
    if kind == "classify" or classifiers:
        return _describe_classifiers(folder, classifiers, command)
    runs = _runs_in(folder)
    if kind == "compare" and not runs:
        return "is a comparison (`compare`) whose runs have no checkpoint yet"
    if not runs:
        return None
    names = list_names([run.relative_to(folder).as_posix() for run in runs], _MAX_LISTED)
    listed = f"{counted(len(runs), 'run')} ({names})"
    listed = f"is a comparison (`compare`) of {listed}" if kind == "compare" else f"contains {listed}"
    if command != "report" or kind != "compare":
        return f"{listed}; choose one: {program_name()} {command} {shlex.quote(str(runs[0]))}"
    page = folder / "report.html"
    scores = f"; its scores are in {page}" if page.exists() else ""
    return f"{listed}{scores}; to score the runs again: {program_name()} report {shlex.quote(str(folder))}/*-seed*"


def samples_folder(path: Path) -> Path | None:
    """The folder of the samples of a run, for its folder or a file in it; None if it is in no folder `checkpoints`.

    It is `samples/NAME` beside `checkpoints/NAME`; NAME may have several parts.
    """
    run = path.resolve().parent if path.is_file() else path.resolve()
    for parent in run.parents:
        if parent.name == "checkpoints":
            root = Path() if parent.parent == Path.cwd() else parent.parent
            return root / "samples" / run.relative_to(parent)
    return None


def _describe_classifiers(folder: Path, classifiers: list[Path], command: str) -> str:
    if not classifiers:
        return "is an experiment of `classify` without a trained classifier yet"
    names = list_names([path.relative_to(folder).as_posix() for path in classifiers], _MAX_LISTED)
    text = f"contains classifiers of `classify` ({names}), which generate no images"
    if command != "report":
        return f"{text}; choose a run of `train` or `compare`"
    page = folder / "classify.html"
    results = f"; their accuracies are in {page}" if page.exists() else ""
    return f"{text}{results}; to score images in their features: --features classifier:{classifiers[0]}"


def _runs_in(folder: Path) -> list[Path]:
    """The folders of runs with a checkpoint in a folder, or in the comparisons in it."""
    comparisons = [path.parent for path in folder.glob("*/config.json") if _kind(path.parent) == "compare"]
    paths = [path for parent in (folder, *comparisons) for path in parent.glob(f"*/{STEP_PATTERN}.pt")]
    return sorted({path.parent for path in paths})


def _kind(folder: Path) -> str | None:
    """The command that made the folder, if it is not `train`."""
    kind = read_object(folder / "config.json").get("kind")
    return kind if isinstance(kind, str) else None
