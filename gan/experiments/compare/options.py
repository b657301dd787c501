"""From flags to the plan of a comparison, and back to the command that says the same."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from gan.config import presets
from gan.config.base import flag_name
from gan.config.resolve import read_config_file, require_data, resolve_config
from gan.config.train_config import TrainConfig
from gan.errors import UsageError
from gan.experiments.compare.plan import LR_GRID, PER_TRAINING, RATES, CompareConfig, ComparePlan
from gan.models import published_widths
from gan.utils.progress import say

_SNAPSHOTS = 10  # of a training, unless --report-every says otherwise


def build_plan(
    name: str, preset: str | None, file: Path | None, given: Mapping[str, Any], before: ComparePlan | None
) -> ComparePlan:
    """What is asked for.

    Args:
        name: of the run, for messages.
        preset: the recipe; None is that of the run, or the quickstart for a new one.
        file: settings from a file.
        given: settings that the user gave, those of `CompareConfig` and of `TrainConfig`; the others are those of the
            run, or of the recipe for a new one.
        before: what the run began with; None where it has not begun.

    Raises:
        UsageError: every problem found, a line each.
    """
    read = read_config_file(file) if file else {}
    overrides = {**read, **given}
    own = {item.name for item in fields(CompareConfig)}
    which = before.which if before else CompareConfig()
    which = which.replace({key: value for key, value in overrides.items() if key in own})
    which = _each_once(which)
    if which.lr_grid and (rates := [key for key in RATES if key in overrides]):
        named = ", ".join(flag_name(key) if key in given else f"{key} in {file}" for key in rates)
        raise UsageError(f"{named}: set by --lr-grid, in each of its settings; leave out one or the other")
    flags = {key: value for key, value in overrides.items() if key not in own and key not in PER_TRAINING}
    train = _goes_on(name, preset, flags, before.train) if before else _new(preset, flags)
    if not train.report_every:
        raise UsageError("--report-every 0: a comparison is made of scores; give the steps between them")
    require_data(train)
    return ComparePlan(which, train)


def _each_once(which: CompareConfig) -> CompareConfig:
    norms = tuple(dict.fromkeys(which.norms))
    twice = [norm for norm in norms if which.norms.count(norm) > 1]
    if twice:
        say(f"--norms: {', '.join(twice)} is listed more than once; it is trained once for each seed")
    return which.replace({"norms": norms})


def _new(preset: str | None, flags: Mapping[str, Any]) -> TrainConfig:
    train = resolve_config(preset, None, flags)
    if "report_every" not in flags:
        train = train.replace({"report_every": max(1, round(train.steps / _SNAPSHOTS))})
    return _with_widths(train, presets.preset_config(train.preset))


def _goes_on(name: str, preset: str | None, flags: Mapping[str, Any], before: TrainConfig) -> TrainConfig:
    if preset not in (None, before.preset):
        raise UsageError(f"--preset {preset}: the run {name} was begun with {before.preset}")
    flags = {key: value for key, value in flags.items() if key != "preset"}
    if flags.get("precision") == "auto":
        flags["precision"] = before.precision  # what it meant when the run began
    return _with_widths(before.replace(flags), before)


def _with_widths(train: TrainConfig, base: TrainConfig) -> TrainConfig:
    """The same with the published width in place of None, which no flag says, where `base` has another."""
    published = published_widths(train)
    return train.replace(
        {
            key: width
            for key, width in published.items()
            if getattr(train, key) is None and getattr(base, key) is not None
        }
    )


def compare_command(name: str, plan: ComparePlan) -> str:
    """The command that makes a comparison anew, or goes on with it."""
    base = presets.preset_config(plan.train.preset)
    train = plan.train
    if plan.which.lr_grid:
        train = train.replace({key: getattr(base, key) for key in RATES})
    words = ["msn-gan", "compare", name, "--preset", train.preset]
    words += ["--norms", ",".join(plan.which.norms), "--seeds", str(plan.which.seeds)]
    words += ["--lr-grid"] if plan.which.lr_grid else []
    return shlex.join([*words, *train.flags(base.replace({**PER_TRAINING, "report_every": 0}))])


def lr_grid_facts() -> list[tuple[str, str]]:
    """The settings of the grid, in words."""
    return [
        (f"setting {name}", ", ".join(f"{flag_name(key)} {value}" for key, value in rates.items()))
        for name, rates in LR_GRID.items()
    ]
