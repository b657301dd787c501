"""Build the plan of a comparison from options, and the command that reproduces it."""

import shlex
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from gan.config import presets
from gan.config.base import flag_name
from gan.config.plugins import flag_words
from gan.config.resolve import read_config_file, require_data, resolve_config, resolve_resumed_config
from gan.config.train_config import TrainConfig
from gan.errors import UsageError
from gan.experiments.compare.arms import EQUAL, arm_flags, arm_of, common_interval, with_equal_images
from gan.experiments.compare.plan import PER_TRAINING, CompareConfig, ComparePlan
from gan.experiments.compare.rate_settings import LR_GRID, N_DIS_CHOICES, RATES
from gan.experiments.compare.scoring_schedule import with_scoring_schedule
from gan.training.recipe import choose_recipe, is_chosen_from_images, say_losses, say_recipe
from gan.utils.progress import warn


def build_plan(
    name: str,
    preset: str | None,
    file: Path | None,
    overrides: Mapping[str, Any],
    existing: ComparePlan | None,
    device: str = "auto",
    arms: Mapping[str, Mapping[str, Any]] | None = None,
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
        arms: settings of each arm by its name: `preset`, and values for fields of `TrainConfig`. Those in the file's
            table `arms` are added.

    Raises:
        UsageError: lists every problem found, one per line.
    """
    values = {**(_values_of_file(file, name, preset, existing) if file else {}), **overrides}
    arms = {**_arms_of_file(values.pop("arms", {}), file), **(arms or {})}
    compare_fields = {item.name for item in fields(CompareConfig)}
    compare = existing.compare if existing else CompareConfig(norms=()) if arms else CompareConfig()
    all_arms = existing and not (arms or "norms" in values)
    if existing and not all_arms:
        compare = compare.replace({"norms": ()})  # the requested arms alone; the plan keeps the others
    compare = _unique_norms(compare.replace({key: values[key] for key in values.keys() & compare_fields}))
    if by := _flag_that_sets_rates(compare):
        if rates := [key for key in RATES if key in values]:
            named = ", ".join(flag_name(key) if key in overrides else f"{key} in {file}" for key in rates)
            raise UsageError(f"{named}: set by {by}, in each of its settings; leave out one or the other")
    if compare.tune:
        _refuse_tuned(values, arms)
    values = {key: value for key, value in values.items() if key not in compare_fields and key not in PER_TRAINING}
    if existing:
        if values.get("precision") == "auto":
            del values["precision"]  # as resolved when the run began
        train = resolve_resumed_config(existing.train, preset, values, run=name, started=False)
    else:
        preset, reason = preset or values.pop("preset", None), None
        if is_chosen_from_images(preset, values):
            preset, values, reason = choose_recipe(values, device)
        train = resolve_config(preset, values)
        if reason:
            say_recipe(train, reason)
        require_data(train)
        say_losses(train)
    given = {key: value for key, value in values.items() if key != "preset"}
    configs = {arm: _arm_config(arm, settings, given, train) for arm, settings in arms.items()}
    if compare.tune:  # the same rates for all arms, until the settings replace them
        same = {key: getattr(train, key) for key in RATES}
        configs = {arm: config.replace(same) for arm, config in configs.items()}
    if compare.budget != "steps":
        _refuse_steps(arms, compare.budget)
    if not existing and "report_every" not in values:
        train = with_scoring_schedule(train, number_given="report_num" in values)
        if compare.budget == "images":
            shown = [train, *configs.values()]
            if compare.tune:
                shown = [config.replace({"n_dis": n_dis}) for config in shown for n_dis in N_DIS_CHOICES]
            train = train.replace({"report_every": common_interval(train, shown)})
    if not train.report_every:
        raise UsageError("--report-every 0: a comparison needs scores; give the steps between evaluations")
    own_arms = existing.own_arms if existing and all_arms else ()
    shared = train.replace(PER_TRAINING)
    scores = {key: getattr(shared, key) for key in ("report_every", "report_num", "report_repeats", "report_metrics")}
    for arm, config in configs.items():
        own = arm_of(arm, config.replace(scores), shared)
        own_arms += (with_equal_images(own, shared) if compare.budget == "images" else own,)
    found = (existing.chosen, existing.step_times) if existing else ({}, {})
    plan = ComparePlan(compare, train, own_arms, *found)
    names = dict.fromkeys(arm.name for each in (plan, existing) if each for arm in each.arms)
    if compare.baseline not in (None, *names):
        raise UsageError(f"--baseline {compare.baseline}: is no arm; choose from {', '.join(names)}")
    return plan


def _values_of_file(file: Path, name: str, preset: str | None, existing: ComparePlan | None) -> dict[str, Any]:
    """The values of a config file; warns about those that differ between the trainings, which have no effect.

    Raises:
        UsageError: its preset is not that of the existing run.
    """
    values = read_config_file(file)
    if ignored := [key for key in PER_TRAINING if key in values]:
        warn(f"--config {file}: has no effect on {' and '.join(ignored)} of the trainings; give --norms and --seeds")
    if existing and preset is None and values.get("preset", existing.train.preset) != existing.train.preset:
        raise UsageError(
            f"--config {file}: has the preset {values['preset']}, but the run {name} was started with --preset "
            f"{existing.train.preset}; remove it from the file, or choose another name"
        )
    return values


def _flag_that_sets_rates(compare: CompareConfig) -> str | None:
    return "--lr-grid" if compare.lr_grid else "--tune" if compare.tune else None


def _refuse_tuned(values: Mapping[str, Any], arms: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise a UsageError if flags contradict --tune."""
    lines = []
    if "seeds" in values:
        lines.append("--seeds: --tune trains each setting once; give --then SEEDS for the seeds of the best settings")
    for arm, settings in arms.items():
        if rates := [flag_name(key) for key in RATES if key in settings]:
            lines.append(f"--arm {arm}: {', '.join(rates)} is set by --tune; leave out one or the other")
    if lines:
        raise UsageError("\n".join(lines))


def _arm_config(name: str, settings: Mapping[str, Any], given: Mapping[str, Any], shared: TrainConfig) -> TrainConfig:
    """The config of an arm of --arm or of a file, before the budget decides on its steps.

    Args:
        settings: its `preset`, and values for fields of `TrainConfig`.
        given: values that the user gave for all arms.
        shared: the config that the arms share.
    """
    settings = dict(settings)
    preset = settings.pop("preset", None)
    equal = {key: getattr(shared, key) for key in EQUAL} | {"seed": PER_TRAINING["seed"]}
    try:
        if preset is None:
            norm = presets.preset_config(shared.preset).norm
            return shared.replace({**equal, "norm": norm, **settings})
        same = {**equal, "steps": shared.steps, "precision": shared.precision}
        return resolve_config(preset, {**same, **given, **settings}).replace({"preset": shared.preset})
    except UsageError as error:
        raise UsageError("\n".join(f"--arm {name}: {line}" for line in str(error).splitlines())) from error


def _refuse_steps(arms: Mapping[str, Mapping[str, Any]], budget: str) -> None:
    if named := [name for name, settings in arms.items() if "steps" in settings]:
        equal = "see as many real images" if budget == "images" else "train for as long"
        raise UsageError(
            f"--arm {named[0]}: --steps is set by --budget {budget}, so that all arms {equal}; leave it out, or give "
            "--budget steps"
        )


def _arms_of_file(tables: Any, file: Path | None) -> dict[str, Mapping[str, Any]]:
    """The arms in the table `arms` of a config file."""
    if not isinstance(tables, Mapping) or not all(isinstance(table, Mapping) for table in tables.values()):
        raise UsageError(f'--config {file}: arms must be tables, such as [arms.sn] with norm = "sn"')
    return {name: {key.replace("-", "_"): value for key, value in table.items()} for name, table in tables.items()}


def _unique_norms(compare: CompareConfig) -> CompareConfig:
    norms = tuple(dict.fromkeys(compare.norms))
    if repeated := [norm for norm in norms if compare.norms.count(norm) > 1]:
        warn(f"--norms: {', '.join(repeated)} is listed more than once; it is trained once for each seed")
    return compare.replace({"norms": norms})


def compare_command(name: str, plan: ComparePlan) -> str:
    """Return the command that repeats or resumes a comparison."""
    base = presets.preset_config(plan.train.preset)
    train = plan.train
    if _flag_that_sets_rates(plan.compare):
        train = train.replace({key: getattr(base, key) for key in RATES})
    words = ["msn-gan", "compare", name, "--preset", train.preset]
    words += arm_flags(plan.compare.norms, plan.own_arms, train, plan.compare.budget)
    words += [] if plan.compare.tune else ["--seeds", str(plan.compare.seeds)]
    words += plan.compare.flags(CompareConfig(norms=plan.compare.norms, seeds=plan.compare.seeds))
    return shlex.join([*words, *train.flags(base.replace({**PER_TRAINING, "report_every": 0}))])


def resume_flags(requested: ComparePlan, plan: ComparePlan) -> list[str]:
    """Return the flags that request the same arms of a comparison again, and name the user's own code.

    Args:
        plan: of the comparison; its arms are requested by no flag at all.
    """
    own_code, compare = requested.own_code(), requested.compare
    if requested.arms == plan.arms or own_code != requested.train.own_code():
        return flag_words(own_code)
    return [*flag_words(own_code), *arm_flags(compare.norms, requested.own_arms, requested.train, compare.budget)]


def lr_grid_facts() -> list[tuple[str, str]]:
    """Return the settings of the grid as (name, flags)."""
    return [
        (f"setting {name}", ", ".join(f"{flag_name(key)} {value}" for key, value in rates.items()))
        for name, rates in LR_GRID.items()
    ]
