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

from gan import begun, checkpoint, config, exchange, loop, ranks, snapshots, trainer, trial
from gan.config import TrainConfig
from gan.data import ImageSet, load
from gan.dynamics.probes import DiscriminatorProbe
from gan.dynamics.sample import Subject
from gan.dynamics.watch import Watch
from gan.errors import UsageError, UserError
from gan.metrics.protocol import Extractor
from gan.models import count_parameters
from gan.progress import say
from gan.runs import RunFolder, held, place_flags, program, resumed, unlike_config
from gan.runtime import Runtime, resolve


def resolve_config(preset: str | None, file: Path | None, flags: Mapping[str, Any]) -> TrainConfig:
    """Settings of a new run: a preset, overridden by a file, overridden by flags.

    Raises:
        UsageError: every problem found, a line each.
    """
    overrides = {**(config.read_file(file) if file else {}), **flags}
    base = config.preset(preset or overrides.get("preset", "quickstart"))
    overrides.pop("preset", None)
    if overrides.get("data", base.data) != base.data:
        base = base.replace({"report_every": 0})  # a recipe scores what it learns from its own data
    return base.replace(overrides)


def require_data(settings: TrainConfig) -> None:
    """Raise a UsageError where a recipe has no images of its own and none are given."""
    if not settings.data:
        raise UsageError(f"--data: the preset {settings.preset} has no data of its own; give a folder, a zip or a name")


def train(
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
    run, settings, state = exchange.from_lead(lambda: _settled(name, preset, file, flags, root, resume, dry_run))
    ranks.own_positions(settings.batch, settings.accumulate)  # refused, if it must be, before anything is loaded
    runtime = resolve(device, settings.precision, deterministic=settings.deterministic)
    settings = dataclasses.replace(settings, precision=runtime.precision)  # a resumed run keeps what `auto` meant here
    torch.manual_seed(settings.seed)  # nothing draws from this stream, but it is a part of the checkpoint
    if dry_run:
        trial.dry_run(settings, runtime, run)
        return None
    step = state["step"] if state else 0
    if step >= settings.steps and not exchange.from_lead(lambda: snapshots.due(step, settings, run)):
        if ranks.leads():
            checkpoint.prune(run.checkpoints, settings.keep, run.best(), step=step)  # if it was killed before that
        say(f"{run.name} is done: step {step} of {settings.steps}; --steps N goes on to N")
        return None

    extractor = snapshots.training_extractor(settings, runtime.device) if settings.report_every else None
    with ExitStack() as stack:

        def hold() -> None:
            stack.enter_context(held(run.checkpoints))
            if not resume:
                _require_new(run)  # still

        exchange.from_lead(hold)
        return _train(run, settings, state, runtime, extractor)


def _train(
    run: RunFolder,
    settings: TrainConfig,
    state: dict[str, Any] | None,
    runtime: Runtime,
    extractor: Extractor | None,
) -> int | None:
    exchange.from_lead(run.create)
    try:
        data = load_images(settings)
        job = trainer.Trainer(settings, runtime, data)
        subject = dynamics_of(job)
    except BaseException:
        if ranks.leads():
            run.remove_empty()
        raise
    take_up(job, run, state)
    say(f"{run.name}: {trial.sizes(job)}, {trial.place(runtime)}, {len(data):,} images of {data.name}")
    scores = snapshots.TrainingScores(settings, run, extractor, data, job.classes) if extractor else None
    try:
        stopped = loop.train(job, run, on_snapshot=scores, watch=watch_of(job, run, subject))
    except ranks.LostContact as error:
        raise ranks.LostContact(f"{error}; {_how_to_go_on(run)}") from error
    if stopped is None:
        _say_what_next(run, settings)
    else:
        command = program() if runtime.ranks == 1 else f"torchrun … {sys.argv[0]}"
        words = shlex.join(["train", run.name, "--resume", *place_flags(run.root)])
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
) -> tuple[RunFolder, TrainConfig, dict[str, Any] | None]:
    """The run, its settings, and the state that it goes on from."""
    if resume:
        run = RunFolder(name or preset or "quickstart", root)
        run.require_own()
        settings, state = _resume(run, preset, file, flags)
    else:
        settings, state = resolve_config(preset, file, flags), None
        run = RunFolder(name or settings.preset, root)
        run.require_own()
        if not dry_run:
            _require_new(run)
    require_data(settings)
    return run, settings, state


def _require_new(run: RunFolder) -> None:
    if run.exists():
        raise UsageError(f"RUN {run.name}: exists already in {run.checkpoints}; add --resume, or choose another name")


def _how_to_go_on(run: RunFolder) -> str:
    """For a run whose ranks have lost each other: what there is of it."""
    try:
        whole = checkpoint.newest(run.checkpoints)
    except UserError as error:
        return str(error)
    if whole is None and not run.exists():
        return "start the job again with --resume"  # this rank does not see the files of rank 0's machine
    kept = f"{whole[0]} is whole" if whole else "nothing had been saved yet"
    return f"{kept}; start the job again with --resume"


def _resume(
    run: RunFolder, preset: str | None, file: Path | None, flags: Mapping[str, Any]
) -> tuple[TrainConfig, dict[str, Any] | None]:
    before, state = resumed(run)
    overrides = {**(config.read_file(file) if file else {}), **flags}
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
    if state and (words := unlike_config(run, after)):
        say(f"{run.config_path} says {shlex.join(words)}, the checkpoint does not; it goes on as the checkpoint says")
    return after, state


def take_up(
    job: trainer.Trainer, run: RunFolder, state: dict[str, Any] | None, extra: Mapping[str, Any] | None = None
) -> None:
    """Bring a run to where it was, or begin its folder, which exists, where there is no state.

    Args:
        extra: what config.json of a new run says besides.

    Raises:
        UserError: the images are not those that the run began with, or a file cannot be written.
    """
    if state:
        begun.check_same(run, "images", state["data"], job.data)
        job.load_state(state)
        exchange.from_lead(lambda: run.update_config(job.config))
        say(f"going on with {run.name} at step {job.step} of {job.config.steps}")
        then, now = state.get("threads"), torch.get_num_threads()
        if job.runtime.device.type == "cpu" and then not in (None, now):
            say(
                f"it ran with {then} threads and goes on with {now}: the same but for rounding; "
                f"OMP_NUM_THREADS={then} gives the same bytes"
            )
    else:
        exchange.from_lead(lambda: _begin(job, run, extra or {}))


def _begin(job: trainer.Trainer, run: RunFolder, extra: Mapping[str, Any]) -> None:
    run.write_config(job.config, {**_description(job), **extra})
    loop.save_real_images(job, run)


def load_images(settings: TrainConfig) -> ImageSet:
    """The images that a run learns from.

    Raises:
        UserError: they cannot be read.
    """
    return load(
        settings.data,
        resolution=settings.resolution,
        channels=settings.channels,
        data_root=Path(settings.data_root),
        skip_bad_images=settings.skip_bad_images,
    )


def dynamics_of(job: trainer.Trainer) -> Subject | None:
    """What is watched of a run, its discriminator, or None; to be made while the weights are the initial ones."""
    if not job.config.dynamics:
        return None
    if job.runtime.ranks > 1:
        raise UsageError("--dynamics: samples are taken by one process alone; leave it out under torchrun")
    probe = DiscriminatorProbe(job.config, job.data, job.classes, job.generator, job.runtime.device)
    return Subject(job.discriminator, probe, {"kind": "discriminator", "norm": job.config.norm})


def watch_of(job: trainer.Trainer, run: RunFolder, subject: Subject | None) -> Watch | None:
    """What `loop.train` calls to sample training dynamics of the run from where it stands now, or None."""
    if subject is None:
        return None
    return Watch(run.checkpoints, subject, every=job.config.dynamics, last=job.config.steps, step=job.step)


def _description(job: trainer.Trainer) -> dict[str, Any]:
    """What config.json says besides the settings."""
    return {
        "runtime": {
            "device": str(job.runtime.device),
            "precision": job.runtime.precision,
            "ranks": job.runtime.ranks,
        },
        "parameters": {
            "generator": count_parameters(job.generator),
            "discriminator": count_parameters(job.discriminator),
        },
        "data": {**begun.facts(job.data), "classes": list(job.data.classes)},
    }


def _say_what_next(run: RunFolder, settings: TrainConfig) -> None:
    newest = shlex.quote(str(checkpoint.checkpoint_path(run.checkpoints, settings.steps)))
    command = program()
    if scored := snapshots.logged(run).get(settings.steps):
        say(f"{snapshots.told(scored['scores'])} ({scored['scored_by']})")
    say(
        f"done. Look at {run.sample_path(settings.steps)} (and real.png beside it)\n"
        f"  images from it:        {command} sample {newest} --num 100 --out {run.name}.png\n"
        f"  its quality:           {command} report {newest}\n"
        f"  a walk between images: {command} sample {newest} --interpolate 30 --out {run.name}.gif\n"
        f"  your own images:       {command} train my-run --preset msn-dcgan --data FOLDER-OR-ZIP --steps 20000"
    )
