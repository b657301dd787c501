"""The `compare` command."""

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
from gan.experiments.compare.plan import PER_TRAINING, CompareConfig

_HELP_TEXTS = {"report_every": "Steps between scores of the EMA generator.  [scoring takes a fifth of the time]"}


@main.command()
@click.argument("run")
@click.option(
    "--preset",
    help=f"Base config: {', '.join(PRESETS)}.  [default: chosen from --data; quickstart without]",
    shell_complete=complete_names(PRESETS),
)
@click.option("--config", "file", type=click.Path(path_type=Path), help="Config fields from a TOML or JSON file.")
@click.option("--dry-run", is_flag=True, help="Estimate time and disk of all trainings that are left; train nothing.")
@out_root
@device_option
@config_options(CompareConfig)
@config_options(TrainConfig, without=tuple(PER_TRAINING), help_texts=_HELP_TEXTS)
def compare(
    run: str, preset: str | None, file: Path | None, dry_run: bool, root: Path, device: str, **config: Any
) -> None:
    """Train one recipe under several discriminator normalizations and seeds, and compare the scores.

    Only the normalization differs: for one seed, generator weights, raw discriminator weights, images and latents are
    equal. FID, Inception score, KID, precision and recall are computed every --report-every steps. The same command
    resumes a stopped or killed RUN exactly; flags may then be left out, and --norms and --seeds may add trainings.
    Results are in checkpoints/RUN: report.html, report.md, report.json, and each training as a run of its own,
    RUN/NORM-seedN. Brackets show the defaults, most of which a preset changes; `train --dry-run --verbose` shows the
    effective values.

    \b
    Examples: msn-gan compare digits --norms none,bn,mean,sn,msn --seeds 3
              msn-gan compare cifar --preset msn-dcgan --norms sn,msn --seeds 5 --steps 20000
              msn-gan compare rates --preset sngan-dcgan --norms none,sn,msn --seeds 1 --steps 2000 --lr-grid
    """
    from gan.experiments.compare.experiment import run_comparison

    overrides = {**user_values(CompareConfig, config), **user_values(TrainConfig, config)}
    stopped = run_comparison(run, preset, file, overrides, root=root, device=device, dry_run=dry_run)
    if stopped is not None:
        sys.exit(128 + stopped)
