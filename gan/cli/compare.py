"""`compare`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from gan.cli.app import device_option, main, out_root
from gan.cli.config_options import config_options
from gan.config.presets import PRESETS
from gan.config.train_config import TrainConfig
from gan.experiments.compare.experiment import run_comparison as run_experiment
from gan.experiments.compare.plan import PER_TRAINING, CompareConfig

_TOLD = {"report_every": "Steps between scores of the averaged generator.  [a tenth of --steps]"}


@main.command()
@click.argument("run")
@click.option("--preset", help=f"The recipe: {', '.join(PRESETS)}.  [default: quickstart]")
@click.option("--config", "file", type=click.Path(path_type=Path), help="Settings from a TOML or JSON file.")
@out_root
@device_option
@config_options(CompareConfig)
@config_options(TrainConfig, without=tuple(PER_TRAINING), help_texts=_TOLD)
def compare(run: str, preset: str | None, file: Path | None, root: Path, device: str, **settings: Any) -> None:
    """Train one recipe under several discriminator normalizations and seeds, and compare how good the images become.

    Nothing but the normalization differs: one seed has the same generator weights, raw discriminator weights, images
    and latents under each. FID, Inception score, KID, precision and recall are taken every --report-every steps (a
    tenth of them, unless given). Stopped or killed, RUN goes on exactly where it was when the command is given again;
    then settings may be left out, and --norms and --seeds may add trainings. Results are in checkpoints/RUN:
    report.html, report.md, report.json, and every training as a run of its own, RUN/NORM-seedN. In brackets: the
    defaults, most of which a preset changes; `train --dry-run` shows what holds.

    \b
    Examples: msn-gan compare digits --norms none,bn,mean,sn,msn --seeds 3
              msn-gan compare cifar --preset msn-dcgan --norms sn,msn --seeds 5 --steps 20000
              msn-gan compare rates --preset sngan-dcgan --norms none,sn,msn --seeds 1 --steps 2000 --lr-grid
    """
    given = {name: value for name, value in settings.items() if value is not None}
    stopped = run_experiment(run, preset, file, given, root=root, device=device)
    if stopped is not None:
        sys.exit(128 + stopped)
