"""The command line: parses, validates, calls. The only file that knows click."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from gan import __version__, evaluate, gallery, launch
from gan import data as image_data
from gan.config import PRESETS, TrainConfig, flag
from gan.errors import UserError
from gan.looking import Looking, write_statistics
from gan.runtime import DEVICES


class _Numbers(click.ParamType):
    """Numbers with commas between them, as 4,6,7."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        try:
            return value if isinstance(value, tuple) else tuple(int(part) for part in value.split(","))
        except ValueError:
            self.fail(f"{value!r} is not a list of numbers such as 4,6,7", param, ctx)


class _Names(click.ParamType):
    """Names with commas between them, as fid,is."""

    name = "names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        return value if isinstance(value, tuple) else tuple(dict.fromkeys(part.strip() for part in value.split(",")))


# What a setting's value is parsed as. Its choices and range are checked by TrainConfig, all problems in one message.
_TYPES = {"int": click.INT, "float": click.FLOAT, "str": click.STRING, "tuple[int, ...]": _Numbers()}


class _Commands(click.Group):
    """A group that tells failures in one line and exits with the code that the kind of failure has."""

    def main(self, *args: Any, **extra: Any) -> Any:
        try:
            code = super().main(*args, **{**extra, "standalone_mode": False})
            sys.exit(code if isinstance(code, int) else 0)
        except UserError as error:
            _fail(str(error), error.exit_code)
        except click.ClickException as error:
            _fail(f"{error.format_message()} (see --help)", error.exit_code)
        except (KeyboardInterrupt, click.Abort):
            _fail("interrupted", 130)
        except OSError as error:
            _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error), 1)
        except Exception as error:
            _fail(f"{type(error).__name__}: {error}; this should not happen, --debug shows where", 1)


def _fail(message: str, code: int) -> None:
    if "--debug" in sys.argv[1:2]:
        traceback.print_exc()
    click.echo(f"msn-gan: {message}", err=True)
    sys.exit(code)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="msn-gan")
@click.option("--debug", is_flag=True, help="Show the traceback of a failure.")
def main(debug: bool) -> None:
    """Train GANs under spectral and mean spectral normalization, sample from them, and compare them fairly."""


_device = click.option("--device", type=click.Choice(DEVICES), default="auto", show_default=True, help="Where to run.")
_out_root = click.option(
    "--out",
    "root",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="Folder that holds checkpoints/ and samples/.  [default: here]",
)


def _setting_options(command: Callable[..., None]) -> Callable[..., None]:
    """A flag for every setting of `TrainConfig`; its value is None where it is not given."""
    for item in reversed([item for item in fields(TrainConfig) if item.name != "preset"]):
        kind = str(item.type).split(" |")[0]
        name = flag(item.name)
        choices = item.metadata["choices"]
        default = "" if item.default is None else f"  [{item.default}]"
        command = click.option(
            f"{name}/--no-{name[2:]}" if kind == "bool" else name,
            type=_TYPES.get(kind),
            default=None,
            metavar="|".join(map(str, choices)) or None,
            help=f"{_sentence(item.metadata['help'])}{default}",
        )(command)
    return command


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


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


def _looking_options(command: Callable[..., None]) -> Callable[..., None]:
    """The flags that choose the network that scores are made with."""
    for option in reversed(_LOOKING):
        command = option(command)
    return command


def _looking(flags: dict[str, Any], device: str) -> Looking:
    """Take those flags out of all that were given."""
    own = {item.name: flags.pop(item.name) for item in fields(Looking) if item.name != "device"}
    return Looking(device=device, **own)


@main.command()
@click.argument("run", required=False)
@click.option("--preset", help=f"The recipe: {', '.join(PRESETS)}.  [default: quickstart]")
@click.option("--config", "file", type=click.Path(path_type=Path), help="Settings from a TOML or JSON file.")
@click.option("--resume", is_flag=True, help="Go on with RUN where it was, exactly.")
@click.option("--dry-run", is_flag=True, help="Show settings, parameters, time and memory; train nothing.")
@_out_root
@_device
@_setting_options
def train(
    run: str | None,
    preset: str | None,
    file: Path | None,
    resume: bool,
    dry_run: bool,
    root: Path,
    device: str,
    **settings: Any,
) -> None:
    """Train a GAN. RUN, the run's name, defaults to the preset's.

    A flag overrides the file, which overrides the preset. In brackets: the defaults, those of the quickstart.

    Example: msn-gan train cats --preset msn-dcgan --data cats.zip --norm msn --steps 20000
    """
    given = {name: value for name, value in settings.items() if value is not None}
    stopped = launch.train(run, preset, file, given, resume=resume, dry_run=dry_run, root=root, device=device)
    if stopped is not None:
        sys.exit(128 + stopped)


@main.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--num", type=click.IntRange(1), help="Images.  [default: 64; 8 walks with --interpolate]")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="The same seed, the same images.")
@click.option("--grid", "columns", type=click.IntRange(1), help="Columns of a grid.  [default: as high as wide]")
@click.option("--out", type=click.Path(path_type=Path), help="A .png grid, a folder, a .zip, or a .gif or .webp walk.")
@click.option("--class", "label", help="Class of all images, by name or number.  [default: each in turn]")
@click.option("--truncation", type=click.FloatRange(0, min_open=True), help="Cut latents off at ± this value.")
@click.option("--interpolate", "frames", type=click.IntRange(2), help="Walk between latents, N frames for each part.")
@click.option("--ema/--no-ema", default=True, show_default=True, help="The averaged generator, or the trained one.")
@_device
def sample(
    checkpoint: Path,
    num: int | None,
    seed: int,
    columns: int | None,
    out: Path | None,
    label: str | None,
    truncation: float | None,
    frames: int | None,
    ema: bool,
    device: str,
) -> None:
    """Make images from CHECKPOINT, a file or a run's folder (its newest checkpoint).

    \b
    Examples: msn-gan sample checkpoints/quickstart --num 100 --out digits.png
              msn-gan sample checkpoints/quickstart --num 10000 --out digits.zip
              msn-gan sample checkpoints/quickstart --interpolate 30 --out walk.gif
    """
    gallery.write(
        checkpoint,
        out,
        num=num,
        seed=seed,
        columns=columns,
        label=label,
        truncation=truncation,
        frames=frames,
        ema=ema,
        device=device,
    )


@main.command()
@click.argument("targets", nargs=-1, required=True, metavar="TARGET...")
@click.option("--data", help="The real images: a name, folder or zip.  [default: what the checkpoints learned from]")
@click.option("--data-root", type=click.Path(path_type=Path), help="Where named datasets are.")
@click.option("--split", type=click.Choice(("train", "test")), default="train", show_default=True)
@click.option("--ref", type=click.Path(path_type=Path), help="Statistics in place of --data: a .npz of `data stats`.")
@click.option("--metrics", type=_Names(), help="Of fid,is,kid,pr.  [default: all; fid,is with --ref]")
@click.option(
    "--num", type=click.IntRange(2), help=f"Images scored.  [default: all; {evaluate.MOST:,} or --data's, if generated]"
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of images, splits and subsets.")
@_looking_options
@click.option("--ema/--no-ema", default=True, show_default=True, help="The averaged generator, or the trained one.")
@click.option("--mixed-protocols", is_flag=True, help="Let scores that do not compare stand in one report.")
@click.option("--skip-bad-images", is_flag=True, help="Go on without the images that cannot be read.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the report.  [default: reports/TARGET]")
@_device
def report(out: Path | None, device: str, targets: tuple[str, ...], **flags: Any) -> None:
    """Score each TARGET: a checkpoint, a run's folder (all its checkpoints), or a folder, zip or npz of images.

    Prints a table and writes report.json, report.md and report.html. kid and pr look at every real image anew; for fid
    and is alone what was seen in them is kept.

    \b
    Examples: msn-gan report checkpoints/quickstart
              msn-gan report cats-10k.zip other-cats/ --data cats.zip --num 10000
              msn-gan report checkpoints/cats --ref cats-32.npz --features inception
    """
    from gan import report as pages  # brings matplotlib, which takes a second to load

    looking = _looking(flags, device)
    folder = out or Path("reports") / Path(targets[0]).resolve().stem
    record, error = evaluate.report(evaluate.Request(targets, looking, **flags), folder)
    pages.show(pages.render(folder))
    click.echo(f"wrote {folder}/report.html, report.md and report.json", err=True)
    if error:
        raise error


@main.group()
def data() -> None:
    """Look at image sets and pack them."""


@data.command("info")
@click.argument("path")
@click.option("--data-root", type=click.Path(path_type=Path), default=Path("data"), help="Where downloads are.")
@click.option("--split", type=click.Choice(("train", "test")), default="train", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def info(path: str, data_root: Path, split: str, as_json: bool) -> None:
    """What a dataset's name, a folder or a zip of images holds.

    Example: msn-gan data info cats.zip
    """
    found = image_data.info(path, data_root=data_root, split=split)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for key, value in found.items():
        text = ", ".join(f"{name}: {count}" for name, count in value.items()) if isinstance(value, dict) else value
        click.echo(f"{key + ':':<14} {text}")


@data.command("pack")
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--resolution", type=click.IntRange(1), required=True, help="Side of the square images, in pixels.")
@click.option("--channels", type=click.Choice(("1", "3")), default="3", show_default=True, help="Grey or RGB.")
@click.option("--skip-bad-images", is_flag=True, help="Go on without the images that cannot be read.")
def pack(folder: Path, out: Path, resolution: int, channels: str, skip_bad_images: bool) -> None:
    """Resize the images of FOLDER (or a zip) and pack them into OUT, a zip of PNGs with their labels.

    Example: msn-gan data pack photos/ photos-64.zip --resolution 64
    """
    count = image_data.pack(folder, out, resolution=resolution, channels=int(channels), skip_bad_images=skip_bad_images)
    click.echo(f"packed {count:,} images into {out}", err=True)


@data.command("stats")
@click.argument("path")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--resolution", type=click.IntRange(1), required=True, help="Side of the images, as they will be scored.")
@click.option("--channels", type=click.Choice(("1", "3")), default="3", show_default=True, help="Grey or RGB.")
@click.option("--data-root", type=click.Path(path_type=Path), default=Path("data"), help="Where downloads are.")
@click.option("--split", type=click.Choice(("train", "test")), default="train", show_default=True)
@_looking_options
@click.option("--skip-bad-images", is_flag=True, help="Go on without the images that cannot be read.")
@_device
def stats(path: str, out: Path, channels: str, device: str, **flags: Any) -> None:
    """Write what the network sees in the images of PATH to OUT, an .npz for `report --ref` and for pytorch-fid.

    Example: msn-gan data stats cats.zip cats-32.npz --resolution 32
    """
    looking = _looking(flags, device)
    reference = write_statistics(path, out, looking, channels=int(channels), **flags)
    click.echo(f"wrote {out}: {len(reference.mean):,} features of {reference.count:,} images", err=True)
