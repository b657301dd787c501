"""Check existing trainings of a comparison: whether one is finished, and has the requested configuration."""

import json

from gan.config.train_config import TrainConfig
from gan.errors import UserError
from gan.evaluation.training_evaluator import logged_scores
from gan.experiments.compare.arms import training_differences
from gan.experiments.provenance import REMEDY, RESULT, refuse_damaged
from gan.metrics.extractor import Extractor
from gan.metrics.protocol import FEATURE_FIELDS, Protocol, protocol_differences
from gan.runs import checkpoint, log
from gan.runs.checkpoint import train_config_of
from gan.runs.listing import read_object
from gan.runs.resume import require_no_lost_checkpoints
from gan.runs.run_dir import RunDirectory
from gan.utils.written_by import written_by


def is_finished(run: RunDirectory, config: TrainConfig) -> bool:
    """Return whether a training has diverged, or was trained and scored to its last step.

    Raises:
        UserError: its result.json is damaged.
    """
    path = run.checkpoints / RESULT
    if not path.exists():
        return False
    with refuse_damaged(run.checkpoints, RESULT):
        diverged = json.loads(path.read_text())["diverged"]
    return diverged is not None or config.steps in logged_scores(run)


def resume_problem(run: RunDirectory, config: TrainConfig, extractor: Extractor | None) -> str | None:
    """Return why a training cannot be resumed and what to do, or None if it can be, or is new.

    Args:
        config: configuration that it must have.
        extractor: extractor for its further scores, if any are due.
    """
    try:
        if not run.exists() and not (run.checkpoints / RESULT).exists():
            return None
        if not is_finished(run, config) and not checkpoint.list_checkpoints(run.checkpoints):
            require_no_lost_checkpoints(run, config)
        if lines := _config_differences(run, config):
            return f"{run.checkpoints}: has other settings than the comparison ({'; '.join(lines)}); {REMEDY}"
        with refuse_damaged(run.checkpoints):
            entries = log.read_log(run.checkpoints / log.LOG)
            last = max((entry["step"] for entry in entries), default=0)
            if last > config.steps:
                return f"{run.checkpoints}: was trained to step {last:,}, past the planned {config.steps:,}; {REMEDY}"
            protocols = [Protocol.from_json(entry["protocol"]) for entry in entries if extractor and "scores" in entry]
        for protocol in protocols:
            assert extractor is not None
            if lines := protocol_differences(protocol, extractor.protocol, FEATURE_FIELDS):
                return (
                    f"{run.checkpoints}: was scored with another extractor ({'; '.join(lines)}); use that one again "
                    f"(--features), or {REMEDY}"
                )
    except UserError as error:
        return str(error)
    return None


def _config_differences(run: RunDirectory, config: TrainConfig) -> list[str]:
    """Return the differences of its config.json, and of its checkpoint if it is not finished, from `config`.

    Raises:
        UserError: they cannot be read.
    """
    try:
        written = TrainConfig.from_dict(json.loads(run.config_path.read_text())["config"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, UserError) as error:
        program = written_by(read_object(run.config_path))
        raise UserError(f"{run.config_path}: cannot be read ({error}; {program}); {REMEDY}") from error
    lines = training_differences(written, config)
    if not lines and not is_finished(run, config) and checkpoint.list_checkpoints(run.checkpoints):
        try:
            newest = checkpoint.newest_checkpoint(run.checkpoints)
        except UserError as error:
            raise UserError(f"{run.checkpoints}: none of its checkpoints is complete; {REMEDY}") from error
        assert newest is not None
        lines = training_differences(train_config_of(newest.state, newest.path), config)
    return lines
