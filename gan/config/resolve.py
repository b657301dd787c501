"""Resolve the config of a run from preset, file and command-line flags."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gan.config import presets
from gan.config.train_config import TrainConfig
from gan.errors import UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def read_config_file(path: Path) -> dict[str, Any]:
    """Config fields from a TOML or JSON file, such as a run's config.json; a UsageError if it has none."""
    try:
        text = path.read_text("utf-8-sig")  # some editors write a byte order mark
        values = tomllib.loads(text) if path.suffix.lower() == ".toml" else json.loads(text)
    except OSError as error:
        raise UsageError(f"--config {path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"--config {path}: is not valid TOML (.toml) or JSON: {error}") from error
    if isinstance(values, dict) and isinstance(values.get("config"), dict):
        values = values["config"]
    if not isinstance(values, dict):
        raise UsageError(f"--config {path}: is not a table of config fields")
    named = {name.replace("-", "_"): value for name, value in values.items()}
    if len(named) < len(values):
        twice = sorted(name for name in values if "-" in name and name.replace("-", "_") in values)
        raise UsageError(f"--config {path}: has {', '.join(twice)} with - and with _; leave out one of the two")
    return TrainConfig.by_field_name(named)


def resolve_config(preset: str | None, overrides: Mapping[str, Any]) -> TrainConfig:
    """The config of a new run: the preset, overridden by a file's values and flags; a UsageError lists all problems."""
    overrides = dict(overrides)
    base = presets.preset_config(preset or overrides.pop("preset", "quickstart"))
    overrides.pop("preset", None)
    if overrides.get("data", base.data) != base.data:
        base = base.replace({"report_every": 0})  # presets score on their own data only
    return base.replace(overrides)


def resolve_resumed_config(
    saved: TrainConfig, preset: str | None, overrides: Mapping[str, Any], *, run: str, started: bool
) -> TrainConfig:
    """The config of a resumed run: the saved one, overridden by a file's values and flags.

    Args:
        run: name of the run, for messages.
        started: the run has a checkpoint, so that fields that affect the result must not change.

    Raises:
        UsageError: one message with a line for each problem.
    """
    overrides = {name: value for name, value in overrides.items() if name != "preset"}
    if started and overrides.get("precision") == "auto":
        del overrides["precision"]
    if preset not in (None, saved.preset):
        raise UsageError(f"--preset {preset}: the run {run} was started with --preset {saved.preset}")
    config = saved.replace(overrides)
    if started and (differences := saved.differences(config)):
        raise UsageError(
            f"--resume: these flags contradict the config of the run {run}; remove them or start a new run:\n  "
            + "\n  ".join(differences)
        )
    return config


def require_data(config: TrainConfig) -> None:
    """Raise a UsageError if neither the preset nor the user names a dataset."""
    if not config.data:
        empty = presets.preset_config(config.preset).data
        reason = "is empty" if empty else f"the preset {config.preset} has no dataset"
        raise UsageError(f"--data: {reason}; give a folder, a zip, an npz or a dataset's name")
