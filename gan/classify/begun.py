"""What an experiment was begun with: its config.json, and whether the images are still the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gan.classify.config import ClassifyConfig
from gan.data import ImageSet
from gan.errors import UsageError, UserError
from gan.runs import RunFolder

KIND = "classify"


def read_config(run: RunFolder) -> dict[str, Any] | None:
    """What config.json of a run says, `config` as settings; None where the run has not begun.

    Raises:
        UserError: it is that of another command, or damaged.
    """
    path = run.config_path
    if not path.exists() and not _begun(run.checkpoints):
        return None
    try:
        content = json.loads(path.read_text())
        own = content.get("kind") == KIND
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); choose another name, or remove the folder") from error
    if not own:
        raise UsageError(f"RUN {run.name}: is a run of another command ({run.checkpoints}); choose another name")
    try:
        return {**content, "config": ClassifyConfig.from_dict(content["config"])}
    except (KeyError, TypeError, AttributeError, UsageError) as error:
        raise UserError(f"{path}: does not fit this version of msn-gan ({error}); choose another name") from error


def _begun(folder: Path) -> bool:
    return folder.exists() and any(not path.name.startswith(".") for path in folder.iterdir())


def description(train: ImageSet, test: ImageSet) -> dict[str, Any]:
    """What config.json says of the images."""
    facts: dict[str, Any] = {"classes": list(train.classes)}
    for kind, images in (("train", train), ("test", test)):
        facts[kind] = {
            "name": images.name,
            "images": len(images),
            "fingerprint": images.fingerprint,
            "streamed": images.pixels is None,
            "conversions": images.conversions,
        }
    return facts


def check_same_images(run: RunFolder, before: Mapping[str, Any], train: ImageSet, test: ImageSet) -> None:
    """Refuse to go on with other images.

    Args:
        before: the `description` of those that the run began with.

    Raises:
        UserError: they are others, or cannot be told to be the same.
    """
    for kind, images in (("train", train), ("test", test)):
        then = before[kind]
        if then["streamed"] != (images.pixels is None):
            how = ("in memory", "streamed from the disk")
            was, now = how[then["streamed"]], how[not then["streamed"]]
            raise UserError(
                f"RUN {run.name}: its {kind} images were {was} and are {now} now, so they cannot be told to be the "
                "same; go on with as much free memory as then"
            )
        if then["fingerprint"] != images.fingerprint:
            raise UserError(
                f"RUN {run.name}: its {kind} images were others ({then['images']:,} of {then['name']}); restore them, "
                "or choose another name"
            )
