"""What compare and classify share: the config.json of an experiment, and the check that its images are unchanged"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gan.errors import UsageError, UserError
from gan.runs.run_dir import RunDirectory

_DATA = ("data", "test_data", "data_root", "skip_bad_images")  # settings that a run may change if images stay


def read_experiment_config(
    run: RunDirectory, kind: str, parse: Callable[[dict[str, Any]], Any]
) -> dict[str, Any] | None:
    """What config.json of a run says, `config` as settings; None where the run has not begun.

    Args:
        kind: of the run, which is the command that it is of.
        parse: makes settings of what `config` holds.

    Raises:
        UserError: it is that of another command, or damaged.
    """
    path = run.config_path
    if not path.exists() and not _begun(run.checkpoints):
        return None
    try:
        content = json.loads(path.read_text())
        own = content.get("kind") == kind
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); choose another name, or remove the folder") from error
    if not own:
        raise UsageError(f"RUN {run.name}: is a run of another command ({run.checkpoints}); choose another name")
    try:
        return {**content, "config": parse(content["config"])}
    except (KeyError, TypeError, AttributeError, UsageError) as error:
        raise UserError(f"{path}: does not fit this version of msn-gan ({error}); choose another name") from error


def _begun(folder: Path) -> bool:
    return folder.exists() and any(not path.name.startswith(".") for path in folder.iterdir())


def image_flags_differ(before: object, now: object) -> bool:
    """Whether two settings of one command may name other images."""
    return any(getattr(before, name, None) != getattr(now, name, None) for name in _DATA)
