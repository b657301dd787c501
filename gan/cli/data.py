"""`data info`, `data pack` and `data stats`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from gan import data as image_data
from gan.cli.app import device_option, main, skip_option, split_option
from gan.cli.extractor_options import extractor_flags, pop_extractor_options
from gan.data.source import printable_name
from gan.evaluation.reference_statistics import write_statistics
from gan.utils.memory import format_bytes

_data_root = click.option(
    "--data-root", type=click.Path(path_type=Path), default=Path("data"), help="Where downloads are."
)
_channels = click.option(
    "--channels", type=click.Choice(("1", "3")), default="3", show_default=True, help="Grey or RGB."
)


@main.group()
def data() -> None:
    """Look at image sets and pack them."""


@data.command("info")
@click.argument("path")
@_data_root
@split_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def info(path: str, data_root: Path, split: str, as_json: bool) -> None:
    """What a dataset's name, a folder or a zip of images holds.

    Example: msn-gan data info cats.zip
    """
    found = image_data.describe_images(path, data_root=data_root, split=split)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    lines = {
        "name": found["name"],
        "kind": found["kind"],
        "images": f"{found['count']:,}",
        "classes": _counts(found["classes"]) if found["labelled"] else "none: it has no labels",
        "sizes": _counts(found["sizes"]),
        "modes": _counts(found["modes"]),
        "in memory": ", ".join(f"{format_bytes(size)} at {side} pixels" for side, size in found["bytes"].items()),
        "unreadable": f"{len(found['bad']):,}" if found["bad"] else "none",
    }
    for key, text in lines.items():
        click.echo(f"{key + ':':<12} {text}")
    for name, reason in found["bad"]:
        click.echo(f"  {printable_name(name)}: {reason}")


def _counts(counted: dict[str, int]) -> str:
    return ", ".join(f"{printable_name(name)} {count:,}" for name, count in counted.items())


@data.command("pack")
@click.argument("path", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--resolution", type=click.IntRange(1, 4096), required=True, help="Side of the square images, in pixels.")
@_channels
@_data_root
@split_option
@skip_option
def pack(path: Path, out: Path, channels: str, **flags: Any) -> None:
    """Resize the images of PATH, a folder, a zip or a dataset's name, and pack them with their labels into OUT, a zip.

    \b
    Examples: msn-gan data pack photos/ photos-64.zip --resolution 64
              msn-gan data pack cifar10 cifar10-test.zip --split test --resolution 32
    """
    count = image_data.pack_images(path, out, channels=int(channels), **flags)
    click.echo(f"packed {count:,} images into {out}", err=True)


@data.command("stats")
@click.argument("path")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--resolution", type=click.IntRange(1, 4096), required=True, help="Side of the images, as scored.")
@_channels
@_data_root
@split_option
@extractor_flags
@skip_option
@device_option
def stats(path: str, out: Path, channels: str, device: str, **flags: Any) -> None:
    """Write what the network sees in the images of PATH to OUT, an .npz for `report --ref` and for pytorch-fid.

    Example: msn-gan data stats cats.zip cats-32.npz --resolution 32
    """
    extractor = pop_extractor_options(flags, device)
    reference = write_statistics(path, out, extractor, channels=int(channels), **flags)
    click.echo(f"wrote {out}: {len(reference.mean):,} features of {reference.count:,} images", err=True)
