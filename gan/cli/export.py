"""`export`: networks for other programs and small devices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gan.cli.app import main
from gan.cli.extractor_options import looking_of, looking_options
from gan.errors import UsageError

_FORMATS = ("onnx", "safetensors", "torch-export")


@main.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--what", type=click.Choice(("generator", "discriminator")), help="Of a GAN.  [default: generator]")
@click.option("--format", type=click.Choice(_FORMATS), default="onnx", show_default=True, help="Of the file.")
@click.option("--ema/--no-ema", default=None, help="The averaged generator, or the trained one.  [default: averaged]")
@click.option("--uint8", is_flag=True, help="The generator gives bytes: its images are ready to be shown.")
@click.option("--opset", type=click.INT, help="Version of ONNX's operators, 16 to 25.  [default: 18]")
@click.option("--out", type=click.Path(path_type=Path), help="The file.  [default: exports/RUN-STEP-NETWORK.onnx]")
@click.option("--int8", is_flag=True, help="8-bit integers, calibrated on training images or latents.")
@click.option("--data", help="For --int8: the images, a name, folder or zip.  [default: what it was trained on]")
@click.option("--test-data", help="For --int8 of a classifier: the images of its accuracy.  [default: as in classify]")
@click.option("--data-root", type=click.Path(path_type=Path), help="For --int8: where named datasets are.")
@click.option(
    "--num", type=click.IntRange(2), help="For --int8: images of a FID.  [default: as --data has, 10,000 at most]"
)
@looking_options
def export(
    checkpoint: Path,
    int8: bool,
    data: str | None,
    test_data: str | None,
    data_root: Path | None,
    num: int | None,
    **flags: Any,
) -> None:
    """Write a network of CHECKPOINT (a GAN's, a classifier's, or a run's folder) for use in other programs.

    Norms are folded into plain layers. The file is loaded and compared with the trained network before it is kept.
    With --int8, FID or accuracy is measured before and after; --num and the last six options are of a generator's FID.

    \b
    Examples: msn-gan export checkpoints/quickstart --uint8
              msn-gan export checkpoints/quickstart --int8 --out digits.onnx
              msn-gan export checkpoints/cats --what discriminator --format safetensors
    """
    from gan.export.calibration import QuantizationOptions
    from gan.export.export import ExportOptions, export_network

    looking = looking_of(flags, "auto")
    given = {"--data": data, "--test-data": test_data, "--data-root": data_root, "--num": num}
    unused = [name for name, value in given.items() if value is not None] + looking.given
    if unused and not int8:
        raise UsageError(
            f"{', '.join(unused)}: belongs to --int8, whose quality is measured; add --int8 or leave it out"
        )
    options = QuantizationOptions(data, test_data, data_root, num, looking) if int8 else None
    export_network(ExportOptions(checkpoint, int8=options, **flags))
