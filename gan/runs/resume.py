"""Load the newest checkpoint of a resumed run, and check that its images are unchanged."""

import json
from collections.abc import Mapping
from typing import Any

from gan.config.train_config import TrainConfig
from gan.data.image_set import ImageSet
from gan.errors import UsageError, UserError
from gan.runs import checkpoint
from gan.runs.checkpoint import train_config_of
from gan.runs.listing import read_object
from gan.runs.log import LOG, read_log
from gan.runs.run_dir import RunDirectory
from gan.utils.written_by import does_not_fit


def image_set_record(images: ImageSet) -> dict[str, Any]:
    """Entries of config.json about an image set."""
    return {
        "name": images.name,
        "images": len(images),
        "fingerprint": images.fingerprint,
        "streamed": images.pixels is None,
        "conversions": images.conversions,
    }


def require_same_images(run: RunDirectory, role: str, record: Mapping[str, Any], images: ImageSet) -> None:
    """Check that the images are those that the run started with.

    Args:
        role: how messages call the images, such as `train images`.
        record: the `image_set_record` of the run; in a checkpoint it has no entry `images`.

    Raises:
        UserError: the images differ, or cannot be compared.
    """
    if record["streamed"] != (images.pixels is None):
        places = ("in memory", "streamed")
        before, now = places[record["streamed"]], places[not record["streamed"]]
        raise UserError(
            f"RUN {run.name}: cannot verify that the {role} are unchanged: they were {before}, now they are {now}; "
            "resume with as much free memory as at the start"
        )
    if record["fingerprint"] != images.fingerprint:
        original = f"{record['images']:,} of {record['name']}" if "images" in record else record["name"]
        raise UserError(
            f"RUN {run.name}: the {role} differ from those at the start ({original}); restore them, or choose "
            "another name"
        )


def load_resumed(run: RunDirectory) -> tuple[TrainConfig, dict[str, Any] | None]:
    """The config of a run and the state of its newest valid checkpoint, None if it has no checkpoint yet.

    Raises:
        UserError: there is no such run, or none of its checkpoints is valid.
    """
    if not run.exists():
        raise UserError(f"--resume: there is no run {run.checkpoints}; start it without --resume")
    newest = checkpoint.newest_checkpoint(run.checkpoints)
    if newest is not None:
        return train_config_of(newest.state, newest.path), newest.state
    try:
        config = _written_config(run)
    except (KeyError, TypeError, UsageError) as error:
        raise does_not_fit(run.config_path, error, read_object(run.config_path), "remove the folder") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{run.config_path}: cannot be read ({error}); remove the folder and start again") from error
    require_no_lost_checkpoints(run, config)
    return config, None


def require_no_lost_checkpoints(run: RunDirectory, config: TrainConfig) -> None:
    """Check that a run without checkpoints never had one: starting again would overwrite its log.

    Raises:
        UserError: it had one.
    """
    last = max((entry["step"] for entry in read_log(run.checkpoints / LOG)), default=0)
    if run.has_checkpointed() or last > config.checkpoint_every:
        raise UserError(
            f"RUN {run.name}: its checkpoints are missing in {run.checkpoints}, although it was trained to step "
            f"{last:,}; put a step-….pt back, or remove the folder to start again"
        )


def edited_flags(run: RunDirectory, saved: TrainConfig, config: TrainConfig) -> list[str]:
    """Flags, as command-line words, in which config.json differs from the checkpoint.

    The file was edited, or the run was killed with a changed config before its next checkpoint.

    Args:
        saved: the config in the checkpoint.
        config: the config that the run is resumed with; fields that the user has just changed are left out.
    """
    overridden = {name: value for name, value in vars(saved).items() if value != getattr(config, name)}
    try:
        return _written_config(run).replace(overridden).flags(saved)
    except (OSError, ValueError, KeyError, TypeError, UsageError):
        return []  # resuming does not need the file


def _written_config(run: RunDirectory) -> TrainConfig:
    return TrainConfig.from_dict(json.loads(run.config_path.read_text())["config"])
