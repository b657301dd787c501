"""`report`: scores of checkpoints, runs, folders and zips."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gan.cli.app import Names, device_option, main, skip_option, split_option
from gan.cli.extractor_options import looking_of, looking_options
from gan.distributed import process_group
from gan.evaluation import evaluator
from gan.evaluation.options import EvaluationOptions
from gan.report.terminal import print_report
from gan.runs.run_dir import default_output_name


@main.command()
@click.argument("targets", nargs=-1, required=True, metavar="TARGET...")
@click.option("--data", help="The real images: a name, folder or zip.  [default: what the checkpoints learned from]")
@click.option("--data-root", type=click.Path(path_type=Path), help="Where named datasets are.")
@split_option
@click.option("--ref", type=click.Path(path_type=Path), help="Statistics in place of --data: a .npz of `data stats`.")
@click.option("--metrics", type=Names(), help="Of fid,is,kid,pr.  [default: all; fid,is with --ref]")
@click.option(
    "--num",
    type=click.IntRange(2),
    help="Images scored; of a set a random part.  "
    f"[default: all; {evaluator.MOST_GENERATED:,} or --data's, if generated]",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="Of images, parts, splits and subsets.",
)
@looking_options
@click.option("--ema/--no-ema", default=True, show_default=True, help="The averaged generator, or the trained one.")
@click.option("--mixed-protocols", is_flag=True, help="Let scores that do not compare stand in one report.")
@skip_option
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the report.  [default: reports/TARGET]")
@device_option
def report(out: Path | None, device: str, targets: tuple[str, ...], **flags: Any) -> None:
    """Score each TARGET: a checkpoint, a run's folder (all its checkpoints), or a folder, zip or npz of images.

    Prints a table and writes report.json, report.md and report.html. kid and pr look at every real image anew; for fid
    and is alone what was seen in them is kept.

    \b
    Examples: msn-gan report checkpoints/quickstart
              msn-gan report cats-10k.zip other-cats/ --data cats.zip --num 10000
              msn-gan report checkpoints/cats --ref cats-32.npz --features inception
    """
    from gan.evaluation import report as report_pages

    looking = looking_of(flags, device)
    folder = out or Path("reports") / default_output_name(Path(targets[0]))
    with process_group.joined_ranks():
        _, error = evaluator.evaluate(EvaluationOptions(targets, looking, **flags), folder)
        if process_group.is_rank0():
            print_report(report_pages.write_evaluation_report(folder))
            click.echo(f"wrote {folder}/report.html, report.md and report.json", err=True)
        if error:
            raise error
