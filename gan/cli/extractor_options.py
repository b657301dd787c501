"""The flags that choose the network that scores are made with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from gan.evaluation.reference_statistics import Looking

_LOOKING = (
    click.option("--features", help="inception (default), digits (default for the digits) or classifier:CHECKPOINT."),
    click.option("--preprocess", help="For Inception: pytorch-fid, torch-fidelity or clean.  [default: pytorch-fid]"),
    click.option(
        "--precision",
        type=click.Choice(("fp32", "bf16")),
        default="fp32",
        show_default=True,
        help="bf16 is faster, and its scores compare with each other only.",
    ),
    click.option(
        "--inception-weights",
        "weights",
        type=click.Path(path_type=Path),
        help="Their file.  [default: $MSN_GAN_INCEPTION, or a download]",
    ),
    click.option("--allow-other-weights", is_flag=True, help="Take Inception weights that were not published."),
    click.option("--batch", type=click.IntRange(1), help="Images at a time.  [default: fitting the device]"),
)


def looking_options(command: Callable[..., None]) -> Callable[..., None]:
    """The flags that choose the network that scores are made with."""
    for option in reversed(_LOOKING):
        command = option(command)
    return command


def looking_of(flags: dict[str, Any], device: str) -> Looking:
    """Take those flags out of all that were given."""
    own = {item.name: flags.pop(item.name) for item in fields(Looking) if item.name != "device"}
    return Looking(device=device, **own)
