"""What a run of several trainings was begun with: its config.json, and whether the images are still the same."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gan.data import ImageSet
from gan.errors import UsageError, UserError
from gan.runs import RunFolder

_DATA = ("data", "test_data", "data_root", "skip_bad_images")  # settings that a run may change if images stay


def read_config(run: RunFolder, kind: str, parse: Callable[[dict[str, Any]], Any]) -> dict[str, Any] | None:
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


def reads_elsewhere(before: object, now: object) -> bool:
    """Whether two settings of one command may name other images."""
    return any(getattr(before, name, None) != getattr(now, name, None) for name in _DATA)


def facts(images: ImageSet) -> dict[str, Any]:
    """What config.json says of a set of images."""
    return {
        "name": images.name,
        "images": len(images),
        "fingerprint": images.fingerprint,
        "streamed": images.pixels is None,
        "conversions": images.conversions,
    }


def check_same(run: RunFolder, what: str, then: Mapping[str, Any], images: ImageSet) -> None:
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
