"""The `report` command: score checkpoints, runs, folders and zips."""

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from gan.cli.app import (
    Names,
    device_option,
    main,
    network_option,
    overwrite_option,
    skip_option,
    split_option,
    standing_stats_option,
)
from gan.cli.completion import complete_names, complete_path
from gan.cli.extractor_options import extractor_flags, pop_extractor_options
from gan.distributed import process_group
from gan.evaluation.named_protocols import NAMED_PROTOCOLS, require_no_contradiction
from gan.evaluation.options import MOST_GENERATED, EvaluationOptions
from gan.metrics.score_table import DEFAULT_METRICS, METRICS
from gan.runs.listing import run_path
from gan.utils.progress import say


@main.command()
@click.argument("targets", nargs=-1, required=True, metavar="TARGET...", shell_complete=complete_path)
@click.option(
    "--data",
    help="Real images: a name, folder, zip or npz.  [default: the training images of the checkpoints]",
    shell_complete=complete_path,
)
@click.option("--data-root", type=click.Path(path_type=Path), help="Folder of named datasets.")
@split_option
@click.option("--ref", type=click.Path(path_type=Path), help="Statistics instead of --data: a .npz of `data stats`.")
@click.option(
    "--metrics",
    type=Names(),
    help=f"Some of {','.join(METRICS)}, or all.  [default: {','.join(DEFAULT_METRICS)}; fid,is with --ref]",
    shell_complete=complete_names((*METRICS, "all")),
)
@click.option(
    "--held-out",
    metavar="DATA",
    help="Real images that were not trained on, for the C_T of copies: a name, folder, zip or npz; its test split, if "
    "it has splits.",
    shell_complete=complete_path,
)
@click.option(
    "--num",
    type=click.IntRange(2),
    help="Images to score; a random subset of a folder, zip or npz.  "
    f"[default: all; of a checkpoint as many as --data has, at most {MOST_GENERATED:,}; "
    "of several targets the smallest of these numbers]",
)
@click.option(
    "--as",
    "as_protocol",
    type=Names(),
    default=(),
    help=f"Score by protocols of the literature, which set --num, --split, --features and --preprocess: "
    f"{', '.join(NAMED_PROTOCOLS)}. docs/metrics.md says whose scores use them.",
    shell_complete=complete_names(NAMED_PROTOCOLS),
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="Seed of generated images, subsets and splits.",
)
@click.option(
    "--repeats",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Draws of latents from each of which the FID of a checkpoint is computed, to show its spread.",
)
@click.option(
    "--per-class",
    is_flag=True,
    help="Also FID, precision, recall, density and coverage of each class, if the real images and each TARGET have "
    "labels.",
)
@extractor_flags
@network_option
@click.option("--ema/--no-ema", default=True, show_default=True, help="Score the EMA generator, or the trained one.")
@standing_stats_option
@click.option("--mixed-protocols", is_flag=True, help="Allow scores with different protocols in one report.")
@skip_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder of the report.  [default: reports/TARGET of the first; reports/TARGET-2, ... if the folder has a "
    "report of other targets or settings]",
)
@overwrite_option
@device_option
def report(out: Path | None, overwrite: bool, device: str, targets: tuple[str, ...], **flags: Any) -> None:
    """Score each TARGET: a checkpoint, a run's folder (all its checkpoints), or a folder, zip or npz of images.

    Prints a table and writes report.json, report.md and report.html. A report that exists in --out is replaced with
    --overwrite only; without --out, one of the same targets and settings is replaced. For fid and is, statistics of the
    real images are cached; kid, pr and copies extract features of all real images again.

    \b
    Examples: msn-gan report checkpoints/quickstart
              msn-gan report cats-10k.zip other-cats/ --data cats.zip --num 10000
              msn-gan report checkpoints/cats --ref cats-32.npz --features inception
              msn-gan report checkpoints/cifar --as 50k-train,5k-10k-test
    """
    from gan.evaluation import evaluator
    from gan.evaluation import report as report_pages
    from gan.report.terminal import print_report

    extractor = pop_extractor_options(flags, device)
    with process_group.joined_ranks():
        names = tuple(str(run_path(Path(target))) for target in targets)
        options = EvaluationOptions(names, extractor, **flags)
        if click.get_current_context().get_parameter_source("split") is ParameterSource.COMMANDLINE:
            require_no_contradiction(options, split=options.split)
        _, error, folder = evaluator.evaluate(options, out, overwrite=overwrite)
        if process_group.is_rank0():
            print_report(report_pages.write_evaluation_report(folder))
            page = folder / "report.html"
            say(f"wrote {page}, report.md and report.json", link=page)
        if error:
            raise error
