"""What a run of several trainings was begun with: its config.json, and whether the images are still the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from gan.config.train_config import TrainConfig
from gan.data import ImageSet
from gan.errors import UsageError, UserError
from gan.runs import checkpoint
from gan.runs.checkpoint import train_config_of
from gan.runs.run_dir import RunDirectory


def image_set_record(images: ImageSet) -> dict[str, Any]:
    """What config.json says of a set of images."""
    return {
        "name": images.name,
        "images": len(images),
        "fingerprint": images.fingerprint,
        "streamed": images.pixels is None,
        "conversions": images.conversions,
    }


def require_same_images(run: RunDirectory, what: str, then: Mapping[str, Any], images: ImageSet) -> None:
    """Refuse to go on with other images.

    Args:
        what: what messages call them, as `train images`.
        then: the `facts` of those that the run began with; a checkpoint has not the number of `images`.

    Raises:
        UserError: they are others, or cannot be told to be the same.
    """
    if then["streamed"] != (images.pixels is None):
        how = ("in memory", "streamed from the disk")
        was, now = how[then["streamed"]], how[not then["streamed"]]
        raise UserError(
            f"RUN {run.name}: its {what} were {was} and are {now} now, so they cannot be told to be the "
            "same; go on with as much free memory as then"
        )
    if then["fingerprint"] != images.fingerprint:
        others = f"{then['images']:,} of {then['name']}" if "images" in then else then["name"]
        raise UserError(f"RUN {run.name}: its {what} were others ({others}); restore them, or choose another name")


def load_resumed(run: RunDirectory) -> tuple[TrainConfig, dict[str, Any] | None]:
    """The settings of a run that is to go on and the state of its newest whole checkpoint, None if it has none yet.

    Raises:
        UserError: there is no such run, or none of its checkpoints is whole.
    """
    if not run.exists():
        raise UserError(f"--resume: there is no run {run.checkpoints}; start it without --resume")
    found = checkpoint.newest_checkpoint(run.checkpoints)
    if found is not None:
        return train_config_of(found[1], found[0]), found[1]
    try:
        return TrainConfig.from_dict(json.loads(run.config_path.read_text())["config"]), None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{run.config_path}: cannot be read ({error}); remove the folder and start again") from error


def edited_flags(run: RunDirectory, settings: TrainConfig) -> list[str]:
    """What config.json says of a run otherwise than the settings with which it goes on, as words of a command line.

    It was edited by hand, or the run was killed before it had a checkpoint with the settings that it was resumed with.
    """
    try:
        written = TrainConfig.from_dict(json.loads(run.config_path.read_text())["config"])
    except (OSError, ValueError, KeyError, TypeError, UsageError):
        return []  # a run goes on without it
    return written.flags(settings)
