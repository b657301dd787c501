"""Settings of the Python API: their types, the checks that options of the command line have, and the way to `overrides`

Every field of `gan.config.train_config.TrainConfig` is a setting of its name; None means that it is not given.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, TypedDict

from gan.config.base import Config, user_values
from gan.config.choices import DEVICES
from gan.errors import UsageError

PathLike: TypeAlias = str | os.PathLike[str]


class SharedSettings(TypedDict, total=False):
    """The fields of `TrainConfig` that the trainings of a comparison share. docs/recipes.md explains them."""

    data: PathLike | None
    data_root: PathLike | None
    resolution: int | None
    channels: int | None
    conditional: bool | None
    flip: bool | None
    augment: Sequence[str] | None
    augment_p: float | None
    augment_p_end: float | None
    ada_target: float | None
    ada_images: int | None
    skip_bad_images: bool | None
    network: str | None
    latent_dim: int | None
    g_width: int | None
    d_width: int | None
    norm_layers: Sequence[int] | None
    freeze_d: int | None
    loss: str | None
    r1: float | None
    r2: float | None
    r1_end: float | None
    r2_end: float | None
    gradient_penalty: float | None
    penalty_every: int | None
    steps: int | None
    batch: int | None
    accumulate: int | None
    n_dis: int | None
    d_batch: str | None
    g_fakes: str | None
    g_lr: float | None
    d_lr: float | None
    beta1: float | None
    beta2: float | None
    g_lr_end: float | None
    d_lr_end: float | None
    beta2_end: float | None
    schedule_images: int | None
    decay: str | None
    ema_half_life: float | None
    ema_half_life_end: float | None
    ema_rampup: float | None
    precision: str | None
    deterministic: bool | None
    log_every: int | None
    sample_every: int | None
    checkpoint_every: int | None
    keep: int | None
    dynamics: int | None
    report_every: int | None
    report_num: int | None
    report_repeats: int | None
    report_metrics: Sequence[str] | None
    features: str | None


class TrainSettings(SharedSettings, total=False):
    """All fields of `TrainConfig` but `preset`."""

    norm: str | None
    seed: int | None


def to_overrides(settings: Mapping[str, Any], *configs: type[Config]) -> dict[str, Any]:
    """Settings as the command line passes them on: without those that are not given, and with paths as text.

    This is the only place where arguments of the API become config fields; the caller's own code that they name may be
    imported from now on.

    Args:
        configs: the classes whose fields the settings are.
    """
    plain = {name: os.fspath(value) if isinstance(value, os.PathLike) else value for name, value in settings.items()}
    given = {}
    for config in configs:
        given.update(user_values(config, plain))
    return given


def optional_path(path: PathLike | None) -> Path | None:
    """The path, or None."""
    return None if path is None else Path(path)


def check_choice(flag: str, value: str, choices: Sequence[str]) -> None:
    """Raise a UsageError unless the value of a flag is one of the choices."""
    if value not in choices:
        raise UsageError(f"{flag} {value}: choose from {', '.join(choices)}")


def check_device(device: str) -> None:
    """Raise a UsageError unless a device has this name."""
    check_choice("--device", device, DEVICES)


def check_int(flag: str, value: int | None, low: int, high: float = math.inf) -> None:
    """Raise a UsageError unless the value of a flag is None or an integer from `low` to `high`."""
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool):
        raise UsageError(f"{flag} {value!r}: is not of type int")
    if value < low:
        raise UsageError(f"{flag} {value}: must be at least {low}")
    if value > high:
        raise UsageError(f"{flag} {value}: must be at most {high}")
