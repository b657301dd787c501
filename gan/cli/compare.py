"""The `compare` command."""

import sys
from pathlib import Path
from typing import Any

import click

from gan.cli.app import device_option, jobs_option, main, out_root, require_one_of_jobs_and_only, worker_options
from gan.cli.completion import complete_names
from gan.cli.config_options import config_options
from gan.config.base import user_values
from gan.config.presets import PRESETS
from gan.config.train_config import TrainConfig
from gan.errors import UsageError
from gan.experiments.compare.plan import PER_TRAINING, CompareConfig
from gan.runs.command_line import split_words

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
@click.option(
    "--arm",
    "arms",
    multiple=True,
    metavar="NAME='FLAGS'",
    help="An arm: a name, and flags of train in which it differs from the others; repeatable.",
)
@jobs_option
@click.option(
    "--only",
    metavar="ARM/SEED",
    help="Train one training alone, such as sn/0 (with --lr-grid: A/sn/0; with --tune: t1/sn/0); several processes can "
    "share a RUN so.",
)
@worker_options
@out_root
@device_option
@config_options(CompareConfig)
@config_options(TrainConfig, without=tuple(PER_TRAINING), help_texts=_HELP_TEXTS)
def compare(
    run: str,
    preset: str | None,
    file: Path | None,
    dry_run: bool,
    arms: tuple[str, ...],
    jobs: int | None,
    only: str | None,
    worker: str | None,
    own_code: tuple[str, ...],
    root: Path,
    device: str,
    **config: Any,
) -> None:
    """Train one recipe under several arms and seeds, and compare the scores.

    --norms compares normalizations of the discriminator; --arm compares any settings. Nothing else differs: for one
    seed, images and latents are equal, and so are the initial weights where the networks agree. All arms see
    equally many real images (--budget). FID, Inception score, KID, precision, recall, density and coverage are
    computed every --report-every steps. The same command resumes a stopped or killed RUN exactly; flags may then be
    left out, and --norms, --arm and --seeds may add trainings. Results are in checkpoints/RUN: report.html,
    report.md, report.json, and each training as a run of its own, RUN/ARM-seedN. Brackets show the defaults, most
    of which a preset changes; `train --dry-run --verbose` shows the effective values.

    \b
    Examples: msn-gan compare digits --norms none,bn,mean,sn,msn --seeds 3
              msn-gan compare cifar --preset msn-dcgan --norms sn,msn --seeds 5 --steps 20000
              msn-gan compare cifar --jobs auto
              msn-gan compare penalties --arm sn='--norm sn' --arm r1='--norm none --r1 0.1' --seeds 6
              msn-gan compare tuned --norms sn,msn --tune 16 --then 6 --jobs auto
              msn-gan compare rates --preset sngan-dcgan --norms none,sn,msn --seeds 1 --steps 2000 --lr-grid
    """
    require_one_of_jobs_and_only(jobs, only)
    from gan.experiments.compare.experiment import run_comparison
    from gan.experiments.parallel.worker import reporting

    overrides = {**user_values(CompareConfig, config), **user_values(TrainConfig, config)}
    with reporting(worker, own_code):
        stopped = run_comparison(
            run,
            preset,
            file,
            overrides,
            root=root,
            device=device,
            dry_run=dry_run,
            arms=_parse_arms(arms),
            jobs=jobs,
            only=only,
            worker=worker,
        )
    if stopped is not None:
        sys.exit(128 + stopped)


def _parse_arms(texts: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """The settings of each arm of --arm, by its name; a UsageError if they are no flags of `train`."""
    arms: dict[str, dict[str, Any]] = {}
    for text in texts:
        name, equals, flags = text.partition("=")
        if not equals:
            raise UsageError(f"--arm {text}: give a name and flags, such as --arm r1='--norm none --r1 0.1'")
        if name in arms:
            raise UsageError(f"--arm {name}: is given twice; choose another name for one of them")
        try:
            values = _arm_flags.make_context(f"--arm {name}", split_words(flags)).params
        except (click.ClickException, ValueError) as error:
            message = error.format_message() if isinstance(error, click.ClickException) else str(error)
            raise UsageError(f"--arm {name}: {message}") from error
        preset = values.pop("preset")
        arms[name] = {**user_values(TrainConfig, values), **({"preset": preset} if preset else {})}
    return arms


@click.command(add_help_option=False)
@click.option("--preset")
@config_options(TrainConfig)
def _arm_flags(**flags: Any) -> None:
    """The flags of an arm."""
