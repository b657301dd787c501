"""The `train` command."""

import sys
from pathlib import Path
from typing import Any

import click

from gan.cli.app import device_option, main, out_root
from gan.cli.completion import complete_names
from gan.cli.config_options import config_options
from gan.config.base import user_values
from gan.config.presets import PRESETS
from gan.config.train_config import TrainConfig
from gan.distributed import process_group
from gan.runs.listing import run_path


@main.command()
@click.argument("run", required=False)
@click.option(
    "--preset",
    help=f"Base config: {', '.join(PRESETS)}.  [default: chosen from --data; quickstart without]",
    shell_complete=complete_names(PRESETS),
)
@click.option("--config", "file", type=click.Path(path_type=Path), help="Config fields from a TOML or JSON file.")
@click.option(
    "--init",
    type=click.Path(path_type=Path),
    help="Start from the weights of a checkpoint or run, where names and shapes fit.",
)
@click.option("--resume", is_flag=True, help="Resume RUN from its newest checkpoint.")
@click.option(
    "--dry-run", is_flag=True, help="Print settings and sizes, and estimate time, memory and disk; train nothing."
)
@click.option("--verbose", is_flag=True, help="With --dry-run: all fields of the config, also those of the preset.")
@out_root
@device_option
@config_options(TrainConfig)
def train(
    run: str | None,
    preset: str | None,
    file: Path | None,
    init: Path | None,
    resume: bool,
    dry_run: bool,
    verbose: bool,
    root: Path,
    device: str,
    **config: Any,
) -> None:
    """Train a GAN. RUN is the name of the run; by default, that of the preset, or without --preset of the images.

    Without --preset, the recipe is chosen from the images and the machine, and printed.

    Flags override the file, which overrides the preset. Brackets show the defaults, most of which a preset
    changes; --dry-run --verbose shows the effective values.

    \b
    Examples: msn-gan train --data photos/
              msn-gan train cats --preset msn-dcgan --data cats.zip --norm msn --steps 20000
    """
    from gan.training import train as launch

    overrides = user_values(TrainConfig, config)
    with process_group.joined_ranks():
        _, stopped = launch.train_run(
            run,
            preset,
            file,
            overrides,
            resume=resume,
            dry_run=dry_run,
            root=root,
            device=device,
            verbose=verbose,
            init=run_path(init) if init else None,
        )
    if stopped is not None:
        sys.exit(128 + stopped)
