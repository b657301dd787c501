"""Arms of a comparison: a name and the settings in which it differs from the shared config."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from gan.config.base import flag_name
from gan.config.norm_spec import norm_folder_name
from gan.config.train_config import TrainConfig
from gan.errors import UsageError
from gan.utils.counted import counted
from gan.utils.files import require_folder_name

BUDGETS = ("images", "steps", "seconds")
# Fields in which arms may not differ: the images, the meaning of a seed, and the scores.
EQUAL = (
    *("data", "data_root", "skip_bad_images", "resolution", "channels"),
    *("seed", "report_every", "report_num", "report_repeats", "report_metrics", "features"),
)
# Fields that affect neither training nor evaluation.
_MAY_CHANGE = {"preset", "data", "data_root", "skip_bad_images", "sample_every", "checkpoint_every", "keep"}
# Losses that do not compare pairs of images, whose labels would have to be equal.
WITHOUT_PAIRS = ("hinge", "logistic", "wgan", "lsgan")
# What a seed decides at the start of a training, and the fields on which it depends.
START = {
    "generator": ("network", "g_width", "latent_dim", "conditional"),
    "discriminator": ("network", "d_width", "conditional"),
    "inputs": (
        *("batch", "n_dis", "latent_dim", "conditional", "flip", "gradient_penalty"),
        *("augment", "augment_p", "loss"),
    ),
}


@dataclass(frozen=True)
class Arm:
    """One of the recipes that a comparison compares."""

    name: str
    settings: Mapping[str, Any]
    """Fields of `TrainConfig` in which it differs from the shared config; of an arm of --norms the norm alone."""

    @property
    def folder_name(self) -> str:
        """The name as part of a folder's name."""
        return norm_folder_name(self.name)

    def config(self, shared: TrainConfig) -> TrainConfig:
        """The config of its trainings, but for the seed."""
        return shared.replace(self.settings)

    def option(self, shared: TrainConfig, budget: str) -> str:
        """The value of --arm that gives this arm, NAME=FLAGS."""
        chosen = () if budget == "steps" else ("steps", "report_every")  # by the budget
        names = ["norm", *(name for name in self.settings if name not in ("norm", *chosen))]
        return f"{self.name}={shlex.join(self.config(shared).flags_of(names))}"


def arm_flags(norms: Iterable[str], own_arms: Iterable[Arm], shared: TrainConfig, budget: str) -> list[str]:
    """The flags --norms and --arm that request arms."""
    joined = ",".join(norms)
    options = [word for arm in own_arms for word in ("--arm", arm.option(shared, budget))]
    return [*(["--norms", joined] if joined else []), *options]


def norm_arm(norm: str) -> Arm:
    """The arm of a value of --norms, named after it."""
    return Arm(norm, {"norm": norm})


def arm_of(name: str, config: TrainConfig, shared: TrainConfig) -> Arm:
    """The arm with a config.

    Args:
        shared: the config that the arms share.

    Raises:
        UsageError: the name cannot name a folder, or a field differs that arms may not differ in.
    """
    require_folder_name(name, "--arm")
    settings = {
        item.name: getattr(config, item.name)
        for item in fields(TrainConfig)
        if item.name != "preset" and getattr(config, item.name) != getattr(shared, item.name)
    }
    if unequal := [flag_name(key) for key in EQUAL if key in settings]:
        raise UsageError(f"--arm {name}: {', '.join(unequal)} must be equal for all arms; give it without --arm")
    return Arm(name, settings)


def images_of(config: TrainConfig) -> int:
    """Real images that a training shows its discriminator."""
    return config.steps * config.n_dis * config.batch


def common_interval(shared: TrainConfig, configs: Iterable[TrainConfig]) -> int:
    """The steps between scores of the shared config, rounded up so that all configs can be scored after as many images.

    At most the number of steps.
    """
    per_step = shared.n_dis * shared.batch
    sizes = (config.n_dis * config.batch for config in configs)
    multiple = math.lcm(*(size // math.gcd(size, per_step) for size in sizes))
    return min(shared.steps, -(-shared.report_every // multiple) * multiple)


def equal_image_steps(config: TrainConfig, shared: TrainConfig) -> dict[str, int]:
    """The fields `steps` and `report_every` with which a config shows as many images as the shared config.

    Raises:
        UsageError: a step shows more images than the whole training, or no whole number of steps shows as many.
    """
    own, per_step = config.n_dis * config.batch, shared.n_dis * shared.batch
    total, between = images_of(shared), shared.report_every * per_step
    if total % own or between % own:
        whole = -(-total // own) * own
        raise UsageError(
            f"a step of it shows {counted(own, 'image')}, which must divide all {total:,} and the "
            f"{between:,} between scores; choose --steps and --report-every so that it divides both (the next total is "
            f"{whole:,}), or --budget steps"
        )
    return {"steps": total // own, "report_every": between // own}


def with_equal_images(arm: Arm, shared: TrainConfig) -> Arm:
    """The arm with the number of steps, and of steps between scores, that shows as many images as the shared config.

    Raises:
        UsageError: see `equal_image_steps`.
    """
    config = arm.config(shared)
    if config.n_dis * config.batch == shared.n_dis * shared.batch:
        return arm
    try:
        return Arm(arm.name, {**arm.settings, **equal_image_steps(config, shared)})
    except UsageError as error:
        raise UsageError(f"--arm {arm.name}: {error}") from error


def equal_time_steps(shared: TrainConfig, step_time: float) -> dict[str, int]:
    """The fields `steps` and `report_every` with which an arm takes as long as the reference arm.

    It has at most as many scores; fewer where the steps between them are rounded up.

    Args:
        shared: the config with the steps of the reference arm.
        step_time: of the arm, relative to the reference.
    """
    steps = max(1, round(shared.steps / step_time))
    return {"steps": steps, "report_every": -(-steps // -(-shared.steps // shared.report_every))}


def start_fields(part: str, config: TrainConfig) -> tuple[Any, ...]:
    """The values on which a part of the start depends: configs with equal values have the same initial state."""
    values = {name: getattr(config, name) for name in START[part]}
    if "gradient_penalty" in values:
        values["gradient_penalty"] = values["gradient_penalty"] > 0  # it needs further random numbers
    if "augment_p" in values:
        values["augment_p"] = config.gates_augmentations()  # likewise
        values["loss"] = config.loss if config.conditional and config.loss not in WITHOUT_PAIRS else ""
    return tuple(values.values())


def unequal_fields(part: str, configs: Iterable[TrainConfig]) -> list[str]:
    """The flags in which the configs of arms differ, and because of which they cannot start from the same part."""
    values = [dict(zip(START[part], start_fields(part, config), strict=True)) for config in configs]
    return [flag_name(name) for name in START[part] if len({each[name] for each in values}) > 1]


def problems(arms: Iterable[Arm], shared: TrainConfig) -> list[str]:
    """A line for each two arms with the same name, folder or settings."""
    lines = []
    seen: list[tuple[Arm, TrainConfig]] = []
    for arm in arms:
        config = arm.config(shared)
        for other, other_config in seen:
            if arm.name == other.name:
                lines.append(f"--arm {arm.name}: is given twice; choose another name for one of them")
            elif arm.folder_name == other.folder_name:
                lines.append(f"--arm {arm.name}: would share its folder with {other.name}; rename one of them")
            elif config == other_config:
                lines.append(f"--arm {arm.name}: has the same settings as {other.name}; change one, or leave one out")
        seen.append((arm, config))
    return lines


def training_differences(config: TrainConfig, other: TrainConfig) -> list[str]:
    """Return the differences that affect training or evaluation, as lines `--flag: value -> other value`.

    Stricter than `TrainConfig.differences`: a resumed run may be scored in another way or be trained for longer, the
    trainings of a comparison may not.
    """
    pairs = ((item.name, getattr(config, item.name), getattr(other, item.name)) for item in fields(TrainConfig))
    return [f"{flag_name(name)}: {a} -> {b}" for name, a, b in pairs if a != b and name not in _MAY_CHANGE]
