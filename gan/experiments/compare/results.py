"""What trainings gave, read from their folders: `result.json`, `config.json` and `log.jsonl` of each."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any, NamedTuple

from gan.config.presets import PRESETS
from gan.config.train_config import TrainConfig
from gan.errors import UserError
from gan.experiments.compare.plan import ComparedTraining
from gan.metrics.protocol import Protocol, require_same_protocol
from gan.runs import log
from gan.runs.run_dir import RunDirectory
from gan.utils.files import write_json

RESULT = "result.json"

_MOST_POINTS = 200  # of what is logged; more are averaged in groups
_LOGGED = ("grad_norm_d", "grad_norm_g")
_GRIDS = "step-????????.png"


class Score(NamedTuple):
    """A score as it is shown. `better` is -1 where less is better, 1 where more is."""

    key: str
    title: str
    better: int
    factor: float
    digits: int


SCORES = (
    Score("fid", "FID", -1, 1.0, 2),
    Score("inception_score", "Inception score", 1, 1.0, 2),
    Score("kid", "KID × 10³", -1, 1e3, 2),
    Score("precision", "Precision", 1, 1.0, 3),
    Score("recall", "Recall", 1, 1.0, 3),
)


def write_training_result(run: RunDirectory, facts: dict[str, Any]) -> None:
    """Say that a training is done: `result.json`.

    Args:
        facts: what is not in the log; `diverged` is None, or has `step`, the last good one, and `error`.

    Raises:
        UserError: the file cannot be written.
    """
    write_json(run.checkpoints / RESULT, facts)


def read_training_result(
    run: RunDirectory, training: ComparedTraining, config: TrainConfig, folder: Path
) -> dict[str, Any] | None:
    """What a training gave; None if it is not done.

    `curve` has a list for `step`, `images`, `seconds` (in training) and each score, a value for each snapshot. `final`
    and `best` have the same of the last step and of the snapshot with the lowest FID; None where there is none.
    `missing` are snapshots that have no score. `health` has the steps at which each flag was first raised, and the
    flags at the end.

    Args:
        config: the settings that it must have had.
        folder: of the comparison, which `grid` is relative to.

    Raises:
        UserError: its files are damaged.
    """
    path = run.checkpoints / RESULT
    if not path.exists():
        return None
    try:
        facts = json.loads(path.read_text())
        began = json.loads(run.config_path.read_text())
        entries = log.read_log(run.checkpoints / log.LOG)
        last = facts["diverged"]["step"] if facts["diverged"] else config.steps
        return {
            "norm": training.norm,
            "seed": training.seed,
            "setting": training.setting,
            "folder": training.name,
            "diverged": facts["diverged"],
            "peak_memory": facts["peak_memory"],
            "parameters": began["parameters"],
            "start": began["comparison"]["start"],
            **{key: facts.get(key, began[key]) for key in ("runtime", "versions")},  # older results have neither
            "command": train_command(config, run.name.replace("/", "-")),
            **_curve(entries, config, last, bool(facts["diverged"])),
            "health": _health(entries),
            **_speed(entries),
            "logged": _logged(entries),
            "grid": _grid(run, last, folder),
        }
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"{run.checkpoints}: is damaged ({reason}); remove it, and it is trained again") from error


def train_command(config: TrainConfig, name: str) -> str:
    """The command that trains the same run by itself."""
    base = PRESETS[config.preset].replace({"report_every": 0})
    return shlex.join(["msn-gan", "train", name, "--preset", config.preset, *config.flags(base)])


def require_same_protocols(results: Sequence[Mapping[str, Any]]) -> None:
    """Let results pass if they were all scored alike.

    Raises:
        UserError: names two that were not, and every field in which they differ.
    """
    scored = [result for result in results if result["protocol"]]
    for result in scored[1:]:
        require_same_protocol(
            Protocol.from_json(scored[0]["protocol"]),
            Protocol.from_json(result["protocol"]),
            (scored[0]["folder"], result["folder"]),
            hint="remove the folder of the one that was scored otherwise, and it is trained again",
        )


def _curve(entries: Iterable[dict[str, Any]], config: TrainConfig, last: int, diverged: bool) -> dict[str, Any]:
    scored = [entry for entry in entries if "scores" in entry]
    points = [
        {
            **{key: entry[key] for key in ("step", "images", "seconds")},
            **{score.key: entry["scores"][score.key] for score in SCORES},
        }
        for entry in scored
    ]
    expected = {*range(config.report_every, last + 1, config.report_every), *([] if diverged else [last])}
    return {
        "curve": {key: [point[key] for point in points] for key in points[0]} if points else None,
        "final": points[-1] if points and points[-1]["step"] == config.steps and not diverged else None,
        "best": min(points, key=lambda point: point["fid"]) if points else None,
        "missing": sorted(expected - {point["step"] for point in points}),
        "protocol": scored[-1]["protocol"] if scored else None,
    }


def _health(entries: Iterable[dict[str, Any]]) -> dict[str, Any]:
    first: dict[str, int] = {}
    end: list[str] = []
    for entry in entries:
        if "health" in entry and "diverged" not in entry["health"]:
            end = entry["health"]
            for name in end:
                first.setdefault(name, entry["step"])
    return {"first": first, "end": end}


def _speed(entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Training alone: neither scores nor files are in it."""
    rates = [entry["images_per_second"] for entry in entries if "images_per_second" in entry]
    seconds = [entry["seconds"] for entry in entries if "seconds" in entry]
    return {"images_per_second": median(rates) if rates else None, "seconds": seconds[-1] if seconds else None}


def _logged(entries: Iterable[dict[str, Any]]) -> dict[str, list[float]]:
    """Curves of what every run logs: gradient norms, and σ where the norm has it (the mean over the layers)."""
    found: dict[str, list[float]] = {key: [] for key in ("images", *_LOGGED, "sigma")}
    for entry in entries:
        if all(entry.get(key) is not None for key in _LOGGED):
            for key in ("images", *_LOGGED):
                found[key].append(entry[key])
            if entry.get("sigma"):
                found["sigma"].append(fmean(entry["sigma"].values()))
    group = -(-len(found["images"]) // _MOST_POINTS) or 1
    return {
        key: [fmean(values[start : start + group]) for start in range(0, len(values), group)]
        for key, values in found.items()
        if values
    }


def remove_old_grids(run: RunDirectory) -> None:
    """Remove the sample grids of an earlier training of this name, which would pass for those of one that begins anew.

    They outlive it where its folder of checkpoints was removed alone.

    Raises:
        UserError: one cannot be removed.
    """
    try:
        for path in run.samples.glob(_GRIDS):
            path.unlink()
    except OSError as error:
        raise UserError(f"{run.samples}: an old grid cannot be removed: {error.strerror}; remove it") from error


def _grid(run: RunDirectory, last: int, folder: Path) -> dict[str, Any] | None:
    """The newest sample grid up to the last step, and its step."""
    steps = sorted(int(path.stem.removeprefix("step-")) for path in run.samples.glob(_GRIDS))
    steps = [step for step in steps if step <= last]
    if not steps:
        return None
    return {"step": steps[-1], "path": relative(run.sample_path(steps[-1]), folder)}


def relative(path: Path, folder: Path) -> str:
    """A path as seen from a folder."""
    return Path(os.path.relpath(path, folder)).as_posix()
