"""Results of the trainings of a comparison, read from `result.json`, `config.json` and `log.jsonl` of each."""

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from gan.config.plugins import file_entry
from gan.config.presets import PRESETS
from gan.config.train_config import TrainConfig
from gan.errors import UserError
from gan.evaluation.training_evaluator import logged_warnings
from gan.experiments.compare.plan import ComparedTraining
from gan.experiments.provenance import RESULT, refuse_damaged
from gan.experiments.summary import median_of
from gan.metrics.protocol import Protocol, require_same_protocol
from gan.metrics.score_table import SCORES
from gan.runs import log
from gan.runs.checkpoint_names import STEP_PATTERN
from gan.runs.run_dir import RunDirectory
from gan.utils.files import relative_path

_MAX_POINTS = 200  # per logged curve; longer ones are averaged in groups
_LOGGED = ("loss_d", "loss_g", "d_accuracy", "grad_norm_d", "grad_norm_g")
_GRIDS = f"{STEP_PATTERN}.png"


def read_training_result(
    run: RunDirectory, training: ComparedTraining, config: TrainConfig, folder: Path
) -> dict[str, Any] | None:
    """Read the result of a training; None if it is not finished.

    `curve` has a list for `step`, `images`, `seconds` (of training) and each score, with one value per evaluation.
    `final` and `best` have the same of the last step and of the evaluation with the lowest FID; None if there is none.
    `fid_draws` has the final FID of each draw of latents with --report-repeats, else None. `missing` lists the steps
    without their score. `health` has the step at which each flag was first raised, and the flags at the end.

    Args:
        config: configuration that the training has.
        folder: folder of the comparison, to which the path of `grid` is relative.

    Raises:
        UserError: its files are damaged.
    """
    path = run.checkpoints / RESULT
    if not path.exists():
        return None
    with refuse_damaged(run.checkpoints):
        facts = json.loads(path.read_text())
        written = json.loads(run.config_path.read_text())
        entries = log.read_log(run.checkpoints / log.LOG)
        diverged = facts["diverged"]
        last = diverged["step"] if diverged else config.steps
        return {
            "norm": training.arm,  # the key in files, from when all arms differed in the norm alone
            "seed": training.seed,
            "setting": training.setting,
            "folder": training.name,
            "diverged": diverged,
            "peak_memory": facts["peak_memory"],
            "parameters": written["parameters"],
            "start": written["comparison"]["start"],
            **file_entry(facts.get("plugins", {})),
            # Results of older versions have neither; config.json has those with which the training began.
            **{key: facts.get(key, written[key]) for key in ("runtime", "versions")},
            "command": train_command(config, run.name.replace("/", "-")),
            **_curve(entries, config, last, bool(diverged)),
            "health": _health(entries),
            # Training alone: neither evaluation nor file writing counts.
            "images_per_second": median_of(entries, "images_per_second"),
            "seconds": next((entry["seconds"] for entry in reversed(entries) if "seconds" in entry), None),
            "logged": _logged(entries),
            "fid_draws": next((entry["repeats"]["fid"] for entry in reversed(entries) if "repeats" in entry), None),
            "grid": _grid(run, last, folder),
        }


def train_command(config: TrainConfig, name: str) -> str:
    """Return the command that repeats one training by itself."""
    base = PRESETS[config.preset].replace({"report_every": 0})
    return shlex.join(["msn-gan", "train", name, "--preset", config.preset, *config.flags(base)])


def require_same_protocols(results: Sequence[Mapping[str, Any]]) -> None:
    """Check that all results were scored with the same protocol.

    Raises:
        UserError: names two that were not, and every field that differs.
    """
    scored = [result for result in results if result["protocol"]]
    for result in scored[1:]:
        require_same_protocol(
            Protocol.from_json(scored[0]["protocol"]),
            Protocol.from_json(result["protocol"]),
            (scored[0]["folder"], result["folder"]),
            hint="remove the folder of one of them to train it again",
        )


def _curve(entries: Iterable[dict[str, Any]], config: TrainConfig, last: int, diverged: bool) -> dict[str, Any]:
    scored = [entry for entry in entries if "scores" in entry]
    points = [
        {
            **{key: entry[key] for key in ("step", "images", "seconds")},
            **{score.key: entry["scores"][score.key] for score in SCORES if score.key in entry["scores"]},
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
        "score_warnings": list(dict.fromkeys(line for entry in scored for line in logged_warnings(entry))),
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


def _logged(entries: Iterable[dict[str, Any]]) -> dict[str, list[float]]:
    """Return curves of losses, accuracy of D, gradient norms, and mean σ over the layers where the norm logs σ."""
    entries = list(entries)
    logged = [key for key in _LOGGED if any(entry.get(key) is not None for entry in entries)]  # early ones lack some
    curves: dict[str, list[float]] = {key: [] for key in ("images", *logged, "sigma")}
    for entry in entries:
        if logged and all(entry.get(key) is not None for key in logged):
            for key in ("images", *logged):
                curves[key].append(entry[key])
            if entry.get("sigma"):
                curves["sigma"].append(fmean(entry["sigma"].values()))
    group = -(-len(curves["images"]) // _MAX_POINTS) or 1
    return {
        key: [fmean(values[start : start + group]) for start in range(0, len(values), group)]
        for key, values in curves.items()
        if values
    }


def remove_old_grids(run: RunDirectory) -> None:
    """Remove sample grids of an earlier training of this name, so that they are not shown for a new one.

    They remain when only its folder of checkpoints is removed.

    Raises:
        UserError: one cannot be removed.
    """
    try:
        for path in run.samples.glob(_GRIDS):
            path.unlink()
    except OSError as error:
        raise UserError(f"{run.samples}: an old grid cannot be removed: {error.strerror}; remove it") from error


def _grid(run: RunDirectory, last: int, folder: Path) -> dict[str, Any] | None:
    """Return step and path of the newest sample grid up to step `last`."""
    steps = [int(path.stem.removeprefix("step-")) for path in run.samples.glob(_GRIDS)]
    step = max((step for step in steps if step <= last), default=None)
    return None if step is None else {"step": step, "path": relative_path(run.sample_path(step), folder)}
