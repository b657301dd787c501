"""`sample`: images of a checkpoint"""

from pathlib import Path
from typing import Any

import click

from gan.cli.app import device_option, given_flags, main, network_option, overwrite_option, standing_stats_option
from gan.distributed import process_group
from gan.errors import UsageError
from gan.runs.listing import run_path


@main.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--num", type=click.IntRange(1), help="Number of images.  [default: 64; 8 walks with --interpolate]")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="The same seed, the same images.")
@click.option(
    "--grid",
    "columns",
    type=click.IntRange(1),
    help="Columns of a grid.  [default: as many as rows; of a conditional generator a row for each class]",
)
@click.option("--out", type=click.Path(path_type=Path), help="A .png grid, a folder, a .zip, or a .gif or .webp walk.")
@click.option("--class", "label", help="Class of all images, by name or number.  [default: each in turn]")
@click.option("--truncation", type=click.FloatRange(0, min_open=True), help="Truncate latents at ± this value.")
@click.option("--interpolate", "frames", type=click.IntRange(2), help="Walk between latents in N frames each.")
@click.option("--best", is_flag=True, help="Of a run: the checkpoint with the lowest FID, not the newest.")
@click.option(
    "--timelapse",
    type=click.Path(path_type=Path),
    help="Write a run's sample grids, step by step, as a .gif or .webp instead.",
)
@click.option("--ema/--no-ema", default=True, show_default=True, help="The EMA generator, or the trained one.")
@standing_stats_option
@network_option
@overwrite_option
@device_option
def sample(checkpoint: Path, out: Path | None, timelapse: Path | None, **flags: Any) -> None:
    """Generate images from CHECKPOINT: a file, or a run's folder or name (its newest checkpoint).

    \b
    Examples: msn-gan sample checkpoints/quickstart --num 100 --out digits.png
              msn-gan sample checkpoints/quickstart --num 10000 --out digits.zip
              msn-gan sample checkpoints/quickstart --interpolate 30 --out walk.gif
              msn-gan sample checkpoints/quickstart --timelapse training.gif
    """
    from gan.sampling.sample import SampleOptions, write_samples
    from gan.sampling.timelapse import write_timelapse

    checkpoint = run_path(checkpoint)

    if timelapse is not None:
        if out is not None:
            raise UsageError("--timelapse: is the file that is written; leave out --out")
        if unused := given_flags(("checkpoint", "timelapse", "overwrite")):
            raise UsageError(f"{', '.join(unused)}: not with --timelapse, which shows the grids that the run wrote")
        if process_group.launched_ranks() > 1:
            raise UsageError("--timelapse: is written by one process; leave out torchrun")
        write_timelapse(checkpoint, timelapse, overwrite=flags["overwrite"])
        return
    with process_group.joined_ranks():
        write_samples(checkpoint, out, SampleOptions(**flags))
