"""Resolve a run's config: preset, file, flags"""

from __future__ import annotations

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
    """Settings from a TOML or JSON file; a run's config.json is one.

    Raises:
        UsageError: the file cannot be read or is not a table of settings.
    """
    try:
        text = path.read_text("utf-8-sig")  # some editors begin a file with a mark of its encoding
        values = tomllib.loads(text) if path.suffix.lower() == ".toml" else json.loads(text)
    except OSError as error:
        raise UsageError(f"--config {path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"--config {path}: is not valid TOML (.toml) or JSON: {error}") from error
    if isinstance(values, dict) and isinstance(values.get("config"), dict):
        values = values["config"]
    if not isinstance(values, dict):
        raise UsageError(f"--config {path}: holds no table of settings")
    return {name.replace("-", "_"): value for name, value in values.items()}


def resolve_config(preset: str | None, file: Path | None, flags: Mapping[str, Any]) -> TrainConfig:
    """Settings of a new run: a preset, overridden by a file, overridden by flags.

    Raises:
        UsageError: every problem found, a line each.
    """
    overrides = {**(read_config_file(file) if file else {}), **flags}
    base = presets.preset_config(preset or overrides.get("preset", "quickstart"))
    overrides.pop("preset", None)
    if overrides.get("data", base.data) != base.data:
        base = base.replace({"report_every": 0})  # a recipe scores what it learns from its own data
    return base.replace(overrides)


def require_data(settings: TrainConfig) -> None:
    """Raise a UsageError where a recipe has no images of its own and none are given."""
    if not settings.data:
        raise UsageError(f"--data: the preset {settings.preset} has no data of its own; give a folder, a zip or a name")
