"""The recipe of a run without --preset: chosen from its images and the machine."""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gan.config.choices import RESOLUTIONS
from gan.config.resolve import resolve_config
from gan.config.train_config import TrainConfig
from gan.data.datasets import DATASETS, SHAPES, open_source
from gan.data.survey import Survey, survey_images
from gan.runs.command_line import program_name
from gan.runtime import resolve_device
from gan.utils.counted import counted
from gan.utils.files import expand_home
from gan.utils.progress import say, warn

_CPU_PRESETS = {32: "best", 48: "best-64", 64: "best-64", 128: "best-128"}
_GPU_PRESETS = {32: "sngan-resnet", 48: "sngan-resnet-stl10", 64: "resnet-64", 128: "resnet-128", 256: "resnet-256"}
_MOST_CROPPED = 1 / 3  # share of a picture, on average, beyond which cropping is a warning
_MOST_ENLARGED = 2  # factor beyond which enlarging is a warning


def name_of_data(data: str) -> str:
    """A name for a run: that of its image set, without characters that a run's name may not have."""
    stem = data if data in DATASETS else expand_home(data).resolve().name
    stem = re.sub(r"\.(zip|npz)$", "", stem, flags=re.IGNORECASE)
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).lstrip("._-").rstrip("-") or "images"


def is_chosen_from_images(preset: Any, values: Mapping[str, Any]) -> bool:
    """True if the user gives images, but no preset."""
    data = values.get("data", "digits")
    return preset is None and isinstance(data, str) and data not in ("digits", "")


def choose_recipe(values: Mapping[str, Any], device: str) -> tuple[str, dict[str, Any], str]:
    """Choose preset, resolution and channels for the images of `values["data"]`.

    The resolution is the nearest one that the presets have, by the median of the short sides; images with colour stay
    so. On a CPU the preset is that of the `best` family, on a GPU the published one, at that resolution.

    Args:
        values: config fields that the user gave, which are not changed.

    Returns:
        the preset, the values with resolution and channels, and the reason.

    Raises:
        UsageError, UserError: the images do not exist or cannot be listed, or there is no such device.
    """
    data = values["data"]
    on_gpu = resolve_device(device).type == "cuda"
    presets = _GPU_PRESETS if on_gpu else _CPU_PRESETS
    if data in SHAPES:
        side, channels = SHAPES[data]
        reason = f"{data} has images of {side}×{side} pixels in {_colour(channels)}"
    else:
        survey = survey_images(open_source(data, data_root=Path(), split="train"))
        side = int(np.median(survey.short_sides)) if survey.count else min(presets)
        channels = 1 if survey.count and survey.grey.all() else 3
        reason = (
            f"{data} has {survey.total:,} images in {_colour(channels)}, with short sides of {_sides(survey)} pixels"
        )
    possible = RESOLUTIONS.get(str(values.get("network")), tuple(presets))
    near = min(presets.keys() & possible, key=lambda size: (abs(np.log(size / side)), size))
    chosen = {"resolution": near, "channels": channels, **values}
    # That of the largest is the best for still larger images; other resolutions are refused later.
    resolution, largest = chosen["resolution"], presets[max(presets)]
    preset = presets.get(resolution, largest) if isinstance(resolution, int) else largest
    return preset, chosen, f"{reason}, and this machine has {'a' if on_gpu else 'no'} GPU"


def say_recipe(config: TrainConfig, reason: str, run: str | None = None, more: Sequence[str] = ()) -> None:
    """Print which recipe was chosen and why, and, with the name of a run, the command that names it.

    Args:
        more: flags of that command besides those of the config.
    """
    same = resolve_config(config.preset, {"data": config.data})
    words = ["train", run or "", "--preset", config.preset, "--data", config.data, *config.flags(same), *more]
    command = f"; the same in full: {program_name()} {shlex.join(words)}" if run else ""
    say(
        f"recipe: {config.preset} at {config.resolution}×{config.resolution} in {_colour(config.channels)}, since "
        f"{reason}{command}"
    )


def say_losses(config: TrainConfig) -> None:
    """Print a warning for whatever of the images the config loses: colour, large crops, enlarging more than twofold.

    Named datasets are left out: their presets are made for them.
    """
    if config.data in DATASETS:
        return
    survey = survey_images(open_source(config.data, data_root=Path(), split="train"))
    for warning in loss_warnings(survey, config) if survey.count else ():
        warn(warning, printed=f"warning: {warning}")


def loss_warnings(survey: Survey, config: TrainConfig) -> Iterator[str]:
    """Sentences on what of the surveyed images a config loses, with numbers."""
    of_all = f"of {counted(survey.count, 'image' if survey.count == survey.total else 'sampled image')}"
    coloured = int((~survey.grey).sum())
    if config.channels == 1 and coloured:
        verb = "loses its" if coloured == 1 else "lose their"
        yield f"{coloured:,} {of_all} {verb} colour with --channels 1; --channels 3 keeps it"
    if survey.cropped > _MOST_CROPPED:
        yield f"cropping to squares leaves out {survey.cropped:.0%} of a picture on average; crop the images beforehand"
    factors = config.resolution / survey.short_sides
    if enlarged := int((factors > _MOST_ENLARGED).sum()):
        sizes = RESOLUTIONS.get(config.network, RESOLUTIONS["dcgan"])
        smaller = max((size for size in sizes if size <= np.median(survey.short_sides)), default=sizes[0])
        advice = f"; --resolution {smaller} enlarges less" if smaller < config.resolution else ""
        yield (
            f"{enlarged:,} {of_all} {'is' if enlarged == 1 else 'are'} enlarged more than twofold, "
            f"from short sides of {_sides(survey)} to {config.resolution} pixels{advice}"
        )


def _sides(survey: Survey) -> str:
    if not survey.count:
        return "unknown size"
    low, middle, high = np.percentile(survey.short_sides, (0, 50, 100)).astype(int)
    return f"{low}" if low == high else f"{low} to {high} (median {middle})"


def _colour(channels: int) -> str:
    return "grey" if channels == 1 else "colour"
