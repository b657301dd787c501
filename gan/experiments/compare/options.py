"""Build the plan of a comparison from options, and the command that reproduces it."""

import shlex
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from gan.config import presets
from gan.config.base import flag_name
from gan.config.resolve import read_config_file, require_data, resolve_config, resolve_resumed_config
from gan.errors import UsageError
from gan.experiments.compare.plan import LR_GRID, PER_TRAINING, RATES, CompareConfig, ComparePlan
from gan.experiments.compare.scoring_schedule import with_scoring_schedule
from gan.models import published_widths
from gan.training.recipe import choose_recipe, is_chosen_from_images, say_losses, say_recipe
from gan.utils.progress import warn


def build_plan(
    name: str,
    preset: str | None,
    file: Path | None,
    overrides: Mapping[str, Any],
    existing: ComparePlan | None,
    device: str = "auto",
) -> ComparePlan:
    """Build the requested plan.

    Args:
        name: name of the run, for messages.
        preset: the recipe; None means that of the run, or, for a new run, the one chosen from the images.
        file: configuration file.
        overrides: values that the user gave for fields of `CompareConfig` and `TrainConfig`, which take precedence over
            the file; other values are those of the run, or of the recipe for a new run.
        existing: plan of an existing run.
        device: `auto`, `cpu`, `cuda` or `mps`, on which the choice depends.

    Raises:
        UsageError: lists every problem found, one per line.
    """
    values = {**(read_config_file(file) if file else {}), **overrides}
    compare_fields = {item.name for item in fields(CompareConfig)}
    compare = existing.compare if existing else CompareConfig()
    compare = _unique_norms(compare.replace({key: values[key] for key in values.keys() & compare_fields}))
    if compare.lr_grid and (rates := [key for key in RATES if key in values]):
        named = ", ".join(flag_name(key) if key in overrides else f"{key} in {file}" for key in rates)
        raise UsageError(f"{named}: set by --lr-grid, in each of its settings; leave out one or the other")
    values = {key: value for key, value in values.items() if key not in compare_fields and key not in PER_TRAINING}
    if existing:
        if values.get("precision") == "auto":
            del values["precision"]  # as resolved when the run began
        train = resolve_resumed_config(existing.train, preset, None, values, run=name, started=False)
        base = existing.train
    else:
        preset, reason = preset or values.pop("preset", None), None
        if is_chosen_from_images(preset, values):
            preset, values, reason = choose_recipe(values, device)
        train = resolve_config(preset, None, values)
        if reason:
            say_recipe(train, reason)
        require_data(train)
        say_losses(train)
        if "report_every" not in values:
            train = with_scoring_schedule(train, number_given="report_num" in values)
        base = presets.preset_config(train.preset)
    # A width of None, which no flag expresses, becomes the published width where `base` has another.
    unset = [key for key in ("g_width", "d_width") if getattr(train, key) is None and getattr(base, key) is not None]
    widths = published_widths(train)
    train = train.replace({key: widths[key] for key in unset if key in widths})
    if not train.report_every:
        raise UsageError("--report-every 0: a comparison needs scores; give the steps between evaluations")
    return ComparePlan(compare, train)


def _unique_norms(compare: CompareConfig) -> CompareConfig:
    norms = tuple(dict.fromkeys(compare.norms))
    if repeated := [norm for norm in norms if compare.norms.count(norm) > 1]:
        warn(f"--norms: {', '.join(repeated)} is listed more than once; it is trained once for each seed")
    return compare.replace({"norms": norms})


def compare_command(name: str, plan: ComparePlan) -> str:
    """Return the command that repeats or resumes a comparison."""
    base = presets.preset_config(plan.train.preset)
    train = plan.train
    if plan.compare.lr_grid:
        train = train.replace({key: getattr(base, key) for key in RATES})
    words = ["msn-gan", "compare", name, "--preset", train.preset]
    words += ["--norms", ",".join(plan.compare.norms), "--seeds", str(plan.compare.seeds)]
    words += ["--lr-grid"] if plan.compare.lr_grid else []
    return shlex.join([*words, *train.flags(base.replace({**PER_TRAINING, "report_every": 0}))])


def lr_grid_facts() -> list[tuple[str, str]]:
    """Return the settings of the grid as (name, flags)."""
    return [
        (f"setting {name}", ", ".join(f"{flag_name(key)} {value}" for key, value in rates.items()))
        for name, rates in LR_GRID.items()
    ]
