"""The commands `data info`, `data pack` and `data stats`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from gan.cli.app import device_option, main, overwrite_option, skip_option, split_option
from gan.cli.completion import complete_path
from gan.cli.extractor_options import extractor_flags, pop_extractor_options
from gan.errors import UsageError, UserError
from gan.utils.counted import counted
from gan.utils.memory import format_bytes

_data_root = click.option(
    "--data-root", type=click.Path(path_type=Path), default=Path("data"), help="Folder of downloaded datasets."
)
_channels = click.option(
    "--channels", type=click.Choice(("1", "3")), default="3", show_default=True, help="1: grey, 3: RGB."
)

_out_argument = click.argument("positional", metavar="[OUT]", required=False, type=click.Path(path_type=Path))


def _out_option(text: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option("--out", type=click.Path(path_type=Path), help=text)


def _one_out(positional: Path | None, out: Path | None) -> Path:
    """The file to write, given as --out or as an argument."""
    if out and positional and out != positional:
        raise UsageError(f"--out {out}: and OUT {positional} are two files; give one")
    if not (chosen := out or positional):
        raise UsageError("--out: name the file to write")
    return chosen


@main.group()
def data() -> None:
    """Inspect image sets, pack them, and compute their statistics."""


@data.command("info")
@click.argument("path", shell_complete=complete_path)
@_data_root
@split_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--strict", is_flag=True, help="Exit with 1 if anything is unreadable, ignored or doubtful.")
def info(path: str, data_root: Path, split: str, as_json: bool, strict: bool) -> None:
    """Describe the images of PATH: a folder, zip or npz, or a dataset's name.

    Example: msn-gan data info cats.zip
    """
    from gan.data.datasets import require_images
    from gan.data.describe import describe_images

    require_images(path, "PATH")
    description = describe_images(path, data_root=data_root, split=split)
    click.echo(json.dumps(description, indent=2) if as_json else _description_text(description))
    if strict and (description["bad"] or description["warnings"]):
        count = len(description["bad"])
        bad = [counted(count, "unreadable image")] if count else []
        raise UserError(f"{path}: {'; '.join([*bad, *description['warnings']])} (--strict)")


def _description_text(description: dict[str, Any]) -> str:
    from gan.data.source import printable_name

    lines = {
        "name": description["name"],
        "kind": description["kind"],
        "images": f"{description['count']:,}",
        "classes": _counts(description["classes"]) if description["labelled"] else "none (no labels)",
        "sizes": _counts(description["sizes"]),
        "modes": _counts(description["modes"]),
        "conversions": _counts(description["conversions"]) or "none at any size",
        "in memory": ", ".join(f"{format_bytes(size)} at {side} pixels" for side, size in description["bytes"].items()),
        "unreadable": f"{len(description['bad']):,}" if description["bad"] else "none",
    }
    rows = [f"{key + ':':<13}{text}" for key, text in lines.items()]
    rows += [f"{'note:':<13}{note}" for note in description["notes"]]
    return "\n".join([*rows, *(f"  {printable_name(name)}: {reason}" for name, reason in description["bad"])])


def _counts(counts: dict[str, int]) -> str:
    from gan.data.source import printable_name

    return ", ".join(f"{printable_name(name)} {count:,}" for name, count in counts.items())


@data.command("pack")
@click.argument("path", shell_complete=complete_path)
@_out_argument
@_out_option("The .zip file.")
@click.option("--resolution", type=click.IntRange(1, 4096), required=True, help="Side of the square images, in pixels.")
@_channels
@_data_root
@split_option
@skip_option
@overwrite_option
def pack(path: str, positional: Path | None, out: Path | None, channels: str, **flags: Any) -> None:
    """Resize the images of PATH (a folder, zip or npz, or a dataset's name) and pack them with their labels into a zip.

    The file may also be given as a second argument.

    \b
    Examples: msn-gan data pack photos/ --out photos-64.zip --resolution 64
              msn-gan data pack cifar10 --out cifar10-test.zip --split test --resolution 32
    """
    from gan.data.datasets import require_images
    from gan.data.packing import pack_images

    out = _one_out(positional, out)
    require_images(path, "PATH")
    count = pack_images(path, out, channels=int(channels), **flags)
    click.echo(f"packed {counted(count, 'image')} into {out}", err=True)


@data.command("stats")
@click.argument("path", shell_complete=complete_path)
@_out_argument
@_out_option("The .npz file.")
@click.option("--resolution", type=click.IntRange(1, 4096), required=True, help="Side of the square images, in pixels.")
@_channels
@_data_root
@split_option
@extractor_flags
@skip_option
@overwrite_option
@device_option
def stats(path: str, positional: Path | None, out: Path | None, channels: str, device: str, **flags: Any) -> None:
    """Write feature statistics of the images of PATH to an .npz file for `report --ref` and for pytorch-fid.

    The file may also be given as a second argument.

    Example: msn-gan data stats cats.zip --out cats-32.npz --resolution 32
    """
    from gan.data.datasets import require_images
    from gan.evaluation.reference_statistics import write_statistics

    out = _one_out(positional, out)
    require_images(path, "PATH")
    extractor = pop_extractor_options(flags, device)
    reference = write_statistics(path, out, extractor, channels=int(channels), **flags)
    click.echo(
        f"wrote {out}: {counted(len(reference.mean), 'feature')} of {counted(reference.count or 0, 'image')}", err=True
    )
