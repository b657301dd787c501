"""`train` and `sample`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from gan.cli.app import device_option, main, out_root
from gan.cli.config_options import setting_options
from gan.config.presets import PRESETS
from gan.config.train_config import TrainConfig
from gan.distributed import process_group
from gan.sampling import sample as gallery
from gan.training import train as launch


@main.command()
@click.argument("run", required=False)
@click.option("--preset", help=f"The recipe: {', '.join(PRESETS)}.  [default: quickstart]")
@click.option("--config", "file", type=click.Path(path_type=Path), help="Settings from a TOML or JSON file.")
@click.option("--resume", is_flag=True, help="Go on with RUN where it was, exactly.")
@click.option("--dry-run", is_flag=True, help="Show settings, parameters, time and memory; train nothing.")
@out_root
@device_option
@setting_options(TrainConfig)
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

    A flag overrides the file, which overrides the preset. In brackets: the defaults, most of which a preset
    changes; --dry-run shows what holds.

    Example: msn-gan train cats --preset msn-dcgan --data cats.zip --norm msn --steps 20000
    """
    given = {name: value for name, value in settings.items() if value is not None}
    with process_group.joined_ranks():
        stopped = launch.train_run(run, preset, file, given, resume=resume, dry_run=dry_run, root=root, device=device)
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
@device_option
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
    with process_group.joined_ranks():
        gallery.write_samples(
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
