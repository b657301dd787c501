"""The `train` command: resolve the config, load the images, build the trainer, start or resume the run, train."""

import dataclasses
import shlex
import sys
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch

from gan.config.choices import NETWORKS
from gan.config.plugins import flag_words
from gan.config.presets import preset_config
from gan.config.resolve import read_config_file, require_data, resolve_config, resolve_resumed_config
from gan.config.train_config import TrainConfig
from gan.distributed import collectives, process_group
from gan.errors import UsageError, UserError
from gan.evaluation import training_evaluator
from gan.metrics.extractor import Extractor
from gan.norm_check.runner import require_sound_norms
from gan.runs import checkpoint
from gan.runs.checkpoint import CheckpointFile
from gan.runs.command_line import location_flags, program_name
from gan.runs.lock import exclusive_lock
from gan.runs.own_code import import_own_code
from gan.runs.resume import edited_flags, load_resumed
from gan.runs.run_dir import RunDirectory
from gan.runtime import Runtime, resolve_runtime
from gan.training import dry_run as trial
from gan.training import loop, transfer
from gan.training.recipe import choose_recipe, is_chosen_from_images, name_of_data, say_losses, say_recipe
from gan.training.setup import (
    begin_or_resume,
    dynamics_callback,
    dynamics_meter,
    load_training_images,
    load_transferred,
    save_transferred,
)
from gan.training.trainer import Trainer
from gan.utils.counted import counted
from gan.utils.progress import say, warn


class TrainOutcome(NamedTuple):
    """What `train_run` has done."""

    run: RunDirectory
    stopped: int | None
    """The signal that stopped the run, after a checkpoint; None if it is done, and for a dry run."""


def train_run(
    name: str | None,
    preset: str | None,
    file: Path | None,
    overrides: Mapping[str, Any],
    *,
    resume: bool,
    dry_run: bool,
    root: Path,
    device: str,
    verbose: bool = False,
    init: Path | None = None,
) -> TrainOutcome:
    """Start or resume a run and train it. Several ranks call it together; rank 0 alone reads and writes its files.

    Args:
        name: of the run; None: that of the preset, or of the images if the recipe is chosen from them.
        preset, overrides: see `gan.config.resolve.resolve_config`.
        file: config file, which `overrides` take precedence over.
        root: folder that contains checkpoints/ and samples/.
        verbose: with dry_run, print all fields of the config.
        init: checkpoint or run whose weights a new run starts from; see `gan.training.transfer`.

    Raises:
        UserError: a problem that the user can fix.
    """
    if init and resume:
        raise UsageError(f"--init {init}: a resumed run has its weights already; leave it out, or start a new run")
    run, config, state, is_done = collectives.on_rank0(
        lambda: _resolve_run(name, preset, file, overrides, root, resume, dry_run, device, init)
    )
    process_group.own_batch_positions(config.batch, config.accumulate)  # a wrong batch size is refused before loading
    runtime = resolve_runtime(device, config.precision, deterministic=config.deterministic)
    config = dataclasses.replace(config, precision=runtime.precision)  # a resumed run keeps the precision of `auto`
    if not is_done:
        import_own_code(config, state and state.get("plugins"), f"RUN {run.name}")
        require_sound_norms([config.norm])
    source = transfer.read_source(init) if init else None
    if config.freeze_d and not (init or state or is_done):
        warn(f"--freeze-d {config.freeze_d}: the frozen blocks of D keep their random weights; give --init for others")
    torch.default_generator.manual_seed(config.seed)  # nothing draws from it, but its state is part of the checkpoint
    if dry_run:
        trial.dry_run(config, runtime, run, source=source, verbose=verbose)
        return TrainOutcome(run, None)
    if is_done:
        if process_group.is_rank0():  # the run may have been killed before it did this
            with suppress(UserError), exclusive_lock(run.checkpoints):
                kept = run.kept_checkpoints(bool(config.dynamics))
                checkpoint.prune_checkpoints(run.checkpoints, config.keep, kept, step=state["step"])
        say(f"{run.name} is done: step {state['step']} of {config.steps}; train it longer with --steps N")
        return TrainOutcome(run, None)

    extractor = None
    if config.report_every:
        otherwise = "or train without scores: --report-every 0"
        extractor = training_evaluator.training_extractor(config, runtime.device, otherwise=otherwise)
    with ExitStack() as lock:
        collectives.on_rank0(lambda: _lock_folders(run, lock, resume))
        return TrainOutcome(run, _train(run, config, state, runtime, extractor, source, device))


def _resolve_run(
    name: str | None,
    preset: str | None,
    file: Path | None,
    overrides: Mapping[str, Any],
    root: Path,
    resume: bool,
    dry_run: bool,
    device: str,
    init: Path | None,
) -> tuple[RunDirectory, TrainConfig, Any, bool]:
    """The run, its config, the state to resume from (None for a new run), and whether there is nothing left to do."""
    values = {**(read_config_file(file) if file else {}), **overrides}
    preset = preset or values.pop("preset", None)
    if preset is not None:
        preset_config(preset)  # a UsageError, if there is none of that name
    from_images = is_chosen_from_images(preset, values)
    name = name or (name_of_data(values["data"]) if from_images else preset or "quickstart")
    if not resume:
        run, reason = RunDirectory(name, root), None
        run.require_own()
        if not dry_run:
            _require_new(run)
        if from_images:
            preset, values, reason = choose_recipe(values, device)
        config = resolve_config(preset, values)
        require_data(config)
        if reason:
            more = ["--init", str(init)] if init else []
            say_recipe(config, reason, run.name, [*more, *location_flags(root, device)])
        say_losses(config)
        return run, config, None, False
    run = RunDirectory(name, root)
    run.require_own()
    saved, state = load_resumed(run)
    config = resolve_resumed_config(saved, preset, values, run=run.name, started=state is not None)
    require_data(config)
    if state is None:
        if run.has_entry("init"):
            raise UserError(
                f"RUN {run.name}: was stopped before it had saved the weights of --init; remove {run.checkpoints} and "
                "start it again"
            )
        return run, config, None, False
    if flags := edited_flags(run, saved, config):
        warn(
            f"{run.config_path} has {shlex.join(flags)}, the checkpoint does not; the values of the checkpoint are used"
        )
    is_done = state["step"] >= config.steps and not training_evaluator.score_due(state["step"], config, run)
    return run, config, state, is_done


def _require_new(run: RunDirectory) -> None:
    if run.exists():
        raise UsageError(f"RUN {run.name}: exists already in {run.checkpoints}; add --resume, or choose another name")


def _lock_folders(run: RunDirectory, lock: ExitStack, resume: bool) -> None:
    """Lock the run until `lock` is closed, and create its folders."""
    lock.enter_context(exclusive_lock(run.checkpoints))
    if not resume:
        _require_new(run)  # another process may have started it since
    run.create()


def _train(
    run: RunDirectory,
    config: TrainConfig,
    state: dict[str, Any] | None,
    runtime: Runtime,
    extractor: Extractor | None,
    source: CheckpointFile | None,
    device: str,
) -> int | None:
    try:
        data = load_training_images(config)
        trainer = Trainer(config, runtime, data)
        taken = {"init": transfer.take_weights(trainer, source)} if source else None
        if state and config.dynamics and run.has_entry("init"):
            load_transferred(trainer, run)
        meter = dynamics_meter(trainer)
    except BaseException:
        if process_group.is_rank0():
            run.remove_empty_samples()
        raise
    begin_or_resume(trainer, run, state, taken)
    if taken:
        save_transferred(trainer, run)
    say(
        f"{run.name}: {trial.describe_networks(trainer)}, {trial.describe_runtime(runtime)}, "
        f"{counted(len(data), 'image')} of {data.name}"
    )
    evaluator = (
        training_evaluator.TrainingEvaluator(
            config,
            run,
            extractor,
            data,
            trainer.classes,
            metrics=training_evaluator.training_metrics(config, extractor),
        )
        if extractor
        else None
    )
    dynamics = dynamics_callback(trainer, run, meter)
    try:
        stopped = loop.run_training_loop(trainer, run, on_snapshot=evaluator, dynamics=dynamics)
    except process_group.RankFailure as error:
        raise process_group.RankFailure(f"{error}; {_resume_hint(run)}") from error
    if trainer.step >= config.steps:
        _say_next_commands(run, config, trainer.step)
    else:
        command = program_name() if runtime.ranks == 1 else f"torchrun … {sys.argv[0]}"
        flags = [*flag_words(config.own_code()), *location_flags(run.root, device)]
        words = shlex.join(["train", run.name, "--resume", *flags])
        say(f"stopped at step {trainer.step}, checkpoint saved; resume with: {command} {words}")
    return stopped


def _resume_hint(run: RunDirectory) -> str:
    """Advice for resuming a run whose ranks have lost contact, with its newest checkpoint."""
    try:
        newest = checkpoint.newest_checkpoint(run.checkpoints)
    except UserError as error:
        return str(error)
    if newest is None and not run.exists():
        return "start the job again with --resume"  # this machine does not have the files of rank 0
    saved = f"the last good checkpoint is {newest.path}" if newest else "no checkpoint was saved yet"
    return f"{saved}; start the job again with --resume"


def _say_next_commands(run: RunDirectory, config: TrainConfig, step: int) -> None:
    newest = shlex.quote(str(checkpoint.checkpoint_path(run.checkpoints, step)))
    command = program_name()
    network = "".join(f" --network {shlex.quote(name)}" for name in NETWORKS.references(config.network))
    if entry := training_evaluator.logged_scores(run).get(step):
        say(f"{training_evaluator.format_scores(entry['scores'])} ({entry['scored_by']})")
    own = f"\n  your own images:       {command} train --data FOLDER-OR-ZIP" if config.data == "digits" else ""
    say(
        f"done: samples are in {run.sample_path(step)}, real images beside it in real.png\n"
        f"  more samples:          {command} sample {newest} --num 100 --out {run.name}.png{network}\n"
        f"  scores:                {command} report {newest}{network}\n"
        f"  latent interpolation:  {command} sample {newest} --interpolate 30 --out {run.name}.gif{network}{own}"
    )
