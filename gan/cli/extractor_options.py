"""The flags of the feature extractor"""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from gan.cli.app import Names
from gan.config import plugins
from gan.config.choices import FEATURES
from gan.metrics.extractor import ExtractorOptions

_FLAGS = (
    click.option(
        "--features",
        default="auto",
        show_default=True,
        help="Feature extractor: inception, digits, classifier:FILE, dinov2, dinov2:s, :b or :g, or clip; auto: digits "
        "for the digits, else inception. Or your own, as file.py:name or package.module:name.",
    ),
    click.option(
        "--norm",
        type=Names(),
        default=(),
        help="Your own norm of the classifier, as file.py:name or package.module:name; code runs only if you name it.",
    ),
    click.option("--preprocess", help="For Inception: pytorch-fid, torch-fidelity or clean.  [default: pytorch-fid]"),
    click.option(
        "--precision",
        type=click.Choice(("fp32", "bf16")),
        default="fp32",
        show_default=True,
        help="bf16 is faster; its scores compare with each other only.",
    ),
    click.option(
        "--features-weights",
        "--inception-weights",
        "weights",
        type=click.Path(path_type=Path),
        help="File of the weights of inception, dinov2 or clip.  [default: $MSN_GAN_INCEPTION, $MSN_GAN_DINOV2 or "
        "$MSN_GAN_CLIP, or a download]",
    ),
    click.option(
        "--allow-other-weights", is_flag=True, help="Accept weights of Inception or CLIP that were not published."
    ),
    click.option("--batch", type=click.IntRange(1), help="Images in a batch.  [default: depends on the device]"),
)


def extractor_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Add the flags that choose the feature extractor to a command."""
    for option in reversed(_FLAGS):
        command = option(command)
    return command


def pop_extractor_options(flags: dict[str, Any], device: str) -> ExtractorOptions:
    """Remove those flags from the flags of a command and return them as options; code that they name may run."""
    plugins.allow(FEATURES.references(flags["features"]))
    own = {item.name: flags.pop(item.name) for item in fields(ExtractorOptions) if item.name != "device"}
    return ExtractorOptions(device=device, **own)
