"""What there is of a training already: whether it is done, and whether it is the one that is asked for."""

from __future__ import annotations

import json

from gan.config.train_config import TrainConfig
from gan.errors import UserError
from gan.evaluation.training_evaluator import logged_scores
from gan.experiments.compare import results
from gan.experiments.compare.plan import unlike_settings
from gan.metrics.extractor import Extractor
from gan.metrics.protocol import FEATURE_FIELDS, Protocol, protocol_differences
from gan.runs import checkpoint, log
from gan.runs.checkpoint import train_config_of
from gan.runs.run_dir import RunDirectory


def is_finished(run: RunDirectory, config: TrainConfig) -> bool:
    """Whether it has diverged, or is at its end and its end is scored.

    Raises:
        UserError: its result.json is damaged.
    """
    path = run.checkpoints / results.RESULT
    if not path.exists():
        return False
    try:
        diverged = json.loads(path.read_text())["diverged"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{run.checkpoints}: is damaged ({path.name}: {error}); {_REMEDY}") from error
    return diverged is not None or config.steps in logged_scores(run)


def resume_problem(run: RunDirectory, config: TrainConfig, extractor: Extractor | None) -> str | None:
    """Why a training cannot be taken up: a line that says what to do. None where it can, or has not begun.

    Args:
        config: the settings that it must have.
        extractor: the network that it is scored with, where anything is to be scored.
    """
    try:
        if not run.exists() and not (run.checkpoints / results.RESULT).exists():
            return None
        done = is_finished(run, config)
        if lines := _unlike(run, config, done):
            return f"{run.checkpoints}: has other settings than the comparison ({'; '.join(lines)}); {_REMEDY}"
        entries = log.read_log(run.checkpoints / log.LOG)
        if (last := max((entry["step"] for entry in entries), default=0)) > config.steps:
            return f"{run.checkpoints}: has gone on to step {last:,}, beyond {config.steps:,}; {_REMEDY}"
        for entry in entries:
            if extractor and "scores" in entry:
                scored = Protocol.from_json(entry["protocol"])
                if lines := protocol_differences(scored, extractor.protocol, FEATURE_FIELDS):
                    return (
                        f"{run.checkpoints}: was scored with another network ({'; '.join(lines)}); score with that "
                        f"one again (--report-features), or {_REMEDY}"
                    )
    except (KeyError, TypeError) as error:
        return f"{run.checkpoints}: its scores are damaged ({type(error).__name__}: {error}); {_REMEDY}"
    except UserError as error:
        return str(error)
    return None


_REMEDY = "remove this folder, and it is trained again"


def _unlike(run: RunDirectory, config: TrainConfig, done: bool) -> list[str]:
    """How the settings in its files differ from those that it must have.

    Raises:
        UserError: they cannot be read.
    """
    try:
        found = TrainConfig.from_dict(json.loads(run.config_path.read_text())["config"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, UserError) as error:
        raise UserError(f"{run.config_path}: cannot be read ({error}); {_REMEDY}") from error
    lines = unlike_settings(found, config)
    if not done and not lines and checkpoint.list_checkpoints(run.checkpoints):
        try:
            newest = checkpoint.newest_checkpoint(run.checkpoints)
        except UserError as error:
            raise UserError(f"{run.checkpoints}: none of its checkpoints is whole; {_REMEDY}") from error
        assert newest is not None
        lines = unlike_settings(train_config_of(newest[1], newest[0]), config)
    return lines
