"""The `train` command behind its flags: settings resolved, data loaded, networks built, the run begun or resumed."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from gan.config.resolve import read_config_file, require_data, resolve_config
from gan.config.train_config import TrainConfig
from gan.distributed import collectives, process_group
from gan.errors import UsageError, UserError
from gan.evaluation import training_evaluator
from gan.metrics.extractor import Extractor
from gan.runs import checkpoint
from gan.runs.command_line import location_flags, program_name
from gan.runs.lock import exclusive_lock
from gan.runs.resume import edited_flags, load_resumed
from gan.runs.run_dir import RunDirectory
from gan.runtime import Runtime, resolve_runtime
from gan.training import dry_run as trial
from gan.training import loop, trainer
from gan.training.setup import begin_or_resume, dynamics_callback, dynamics_meter, load_training_images
from gan.utils.progress import say


def train_run(
    name: str | None,
    preset: str | None,
    file: Path | None,
    flags: Mapping[str, Any],
    *,
    resume: bool,
    dry_run: bool,
    root: Path,
    device: str,
) -> int | None:
    """Begin or resume a run and train it; returns the signal that stopped it, or None.

    Several ranks call it together. Rank 0 alone reads and writes the files of the run.

    Raises:
        UserError: anything that a user can put right.
    """
    run, settings, state = collectives.on_rank0(lambda: _settled(name, preset, file, flags, root, resume, dry_run))
    process_group.own_batch_positions(
        settings.batch, settings.accumulate
    )  # refused, if it must be, before anything is loaded
    runtime = resolve_runtime(device, settings.precision, deterministic=settings.deterministic)
    settings = dataclasses.replace(settings, precision=runtime.precision)  # a resumed run keeps what `auto` meant here
    torch.manual_seed(settings.seed)  # nothing draws from this stream, but it is a part of the checkpoint
    if dry_run:
        trial.dry_run(settings, runtime, run)
        return None
    step = state["step"] if state else 0
    if step >= settings.steps and not collectives.on_rank0(lambda: training_evaluator.score_due(step, settings, run)):
        if process_group.is_rank0():
            checkpoint.prune_checkpoints(
                run.checkpoints, settings.keep, run.best(), step=step
            )  # if it was killed before that
        say(f"{run.name} is done: step {step} of {settings.steps}; --steps N goes on to N")
        return None

    extractor = training_evaluator.training_extractor(settings, runtime.device) if settings.report_every else None
    with ExitStack() as stack:

        def hold() -> None:
            stack.enter_context(exclusive_lock(run.checkpoints))
            if not resume:
                _require_new(run)  # still

        collectives.on_rank0(hold)
        return _train(run, settings, state, runtime, extractor)


def _train(
    run: RunDirectory,
    settings: TrainConfig,
    state: dict[str, Any] | None,
    runtime: Runtime,
    extractor: Extractor | None,
) -> int | None:
    collectives.on_rank0(run.create)
    try:
        data = load_training_images(settings)
        job = trainer.Trainer(settings, runtime, data)
        subject = dynamics_meter(job)
    except BaseException:
        if process_group.is_rank0():
            run.remove_empty()
        raise
    begin_or_resume(job, run, state)
    say(
        f"{run.name}: {trial.describe_networks(job)}, {trial.describe_runtime(runtime)}, "
        f"{len(data):,} images of {data.name}"
    )
    scores = training_evaluator.TrainingEvaluator(settings, run, extractor, data, job.classes) if extractor else None
    try:
        stopped = loop.run_training_loop(job, run, on_snapshot=scores, watch=dynamics_callback(job, run, subject))
    except process_group.LostContact as error:
        raise process_group.LostContact(f"{error}; {_how_to_go_on(run)}") from error
    if stopped is None:
        _say_what_next(run, settings)
    else:
        command = program_name() if runtime.ranks == 1 else f"torchrun … {sys.argv[0]}"
        words = shlex.join(["train", run.name, "--resume", *location_flags(run.root)])
        say(f"stopped at step {job.step}, saved; go on with: {command} {words}")
    return stopped


def _settled(
    name: str | None,
    preset: str | None,
    file: Path | None,
    flags: Mapping[str, Any],
    root: Path,
    resume: bool,
    dry_run: bool,
) -> tuple[RunDirectory, TrainConfig, dict[str, Any] | None]:
    """The run, its settings, and the state that it goes on from."""
    if resume:
        run = RunDirectory(name or preset or "quickstart", root)
        run.require_own()
        settings, state = _resume(run, preset, file, flags)
    else:
        settings, state = resolve_config(preset, file, flags), None
        run = RunDirectory(name or settings.preset, root)
        run.require_own()
        if not dry_run:
            _require_new(run)
    require_data(settings)
    return run, settings, state


def _require_new(run: RunDirectory) -> None:
    if run.exists():
        raise UsageError(f"RUN {run.name}: exists already in {run.checkpoints}; add --resume, or choose another name")


def _how_to_go_on(run: RunDirectory) -> str:
    """For a run whose ranks have lost each other: what there is of it."""
    try:
        whole = checkpoint.newest_checkpoint(run.checkpoints)
    except UserError as error:
        return str(error)
    if whole is None and not run.exists():
        return "start the job again with --resume"  # this rank does not see the files of rank 0's machine
    kept = f"{whole[0]} is whole" if whole else "nothing had been saved yet"
    return f"{kept}; start the job again with --resume"


def _resume(
    run: RunDirectory, preset: str | None, file: Path | None, flags: Mapping[str, Any]
) -> tuple[TrainConfig, dict[str, Any] | None]:
    before, state = load_resumed(run)
    overrides = {**(read_config_file(file) if file else {}), **flags}
    overrides.pop("preset", None)
    if state and overrides.get("precision") == "auto":
        del overrides["precision"]
    if preset not in (None, before.preset):
        raise UsageError(f"--preset {preset}: the run {run.name} was begun with {before.preset}")
    after = before.replace(overrides)
    if state and (changes := before.differences(after)):
        raise UsageError(
            f"--resume: these settings would change the run {run.name}; leave them out or begin a new run:\n  "
            + "\n  ".join(changes)
        )
    if state and (words := edited_flags(run, after)):
        say(f"{run.config_path} says {shlex.join(words)}, the checkpoint does not; it goes on as the checkpoint says")
    return after, state


def _say_what_next(run: RunDirectory, settings: TrainConfig) -> None:
    newest = shlex.quote(str(checkpoint.checkpoint_path(run.checkpoints, settings.steps)))
    command = program_name()
    if scored := training_evaluator.logged_scores(run).get(settings.steps):
        say(f"{training_evaluator.format_scores(scored['scores'])} ({scored['scored_by']})")
    say(
        f"done. Look at {run.sample_path(settings.steps)} (and real.png beside it)\n"
        f"  images from it:        {command} sample {newest} --num 100 --out {run.name}.png\n"
        f"  its quality:           {command} report {newest}\n"
        f"  a walk between images: {command} sample {newest} --interpolate 30 --out {run.name}.gif\n"
        f"  your own images:       {command} train my-run --preset msn-dcgan --data FOLDER-OR-ZIP --steps 20000"
    )
