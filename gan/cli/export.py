"""`export`: networks as files for other programs and small devices"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from gan.cli.app import main, network_option, overwrite_option
from gan.cli.completion import complete_path
from gan.cli.extractor_options import extractor_flags, pop_extractor_options
from gan.config.choices import EXPORT_FORMATS
from gan.config.registry import classifier_file
from gan.errors import UsageError


@main.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--what", type=click.Choice(("generator", "discriminator")), help="Of a GAN.  [default: generator]")
@click.option("--format", type=click.Choice(EXPORT_FORMATS), default="onnx", show_default=True, help="File format.")
@click.option("--ema/--no-ema", default=None, help="The EMA generator, or the trained one.  [default: EMA]")
@click.option("--uint8", is_flag=True, help="The generator outputs bytes, images that are ready to display.")
@click.option("--opset", type=click.INT, help="Version of ONNX's operators, 16 to 25.  [default: 18]")
@click.option("--out", type=click.Path(path_type=Path), help="The file.  [default: exports/RUN-STEP-NETWORK.onnx]")
@overwrite_option
@click.option(
    "--precise-stats",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="Recompute the running statistics of batch norm, mean and msn over N batches of 64 images or latents.",
)
@click.option("--int8", is_flag=True, help="Quantize to 8-bit integers, calibrated on training images or latents.")
@click.option(
    "--data",
    help="For --int8 and --precise-stats: the images, a name, folder or zip.  [default: the training images]",
    shell_complete=complete_path,
)
@click.option(
    "--test-data",
    help="For --int8 of a classifier: images for the accuracy.  [default: as in classify]",
    shell_complete=complete_path,
)
@click.option("--data-root", type=click.Path(path_type=Path), help="For the same: folder of named datasets.")
@click.option(
    "--num",
    type=click.IntRange(2),
    help="For --int8: images for the FID.  [default: as many as in --data, at most 10,000]",
)
@extractor_flags
@network_option
def export(checkpoint: Path, int8: bool, **flags: Any) -> None:
    """Export a network of CHECKPOINT (a GAN's, a classifier's, or a run's folder) for use in other programs.

    Norms are folded into plain layers. The file is loaded and compared with the trained network before it is kept.
    With --int8, FID or accuracy is measured before and after; --num and the options from --features on apply to the FID
    of a generator. --norm also names your own norm of a discriminator or classifier that is exported.

    \b
    Examples: msn-gan export checkpoints/quickstart --uint8
              msn-gan export checkpoints/quickstart --int8 --out digits.onnx
              msn-gan export checkpoints/cats --what discriminator --format safetensors
    """
    from gan.export.calibration import QuantizationOptions
    from gan.export.export import ExportOptions, export_network
    from gan.export.training_images import ImageOptions

    extractor = pop_extractor_options(flags, "auto")
    norm = extractor.norm
    if int8 and classifier_file(extractor.features):
        norm = ()  # it is that of the extractor, which scores a generator, and a generator has none
    else:
        extractor = replace(extractor, norm=())
    int8_flags = {name: flags.pop(name) for name in ("data", "test_data", "data_root", "num")}
    set_flags = [f"--{name.replace('_', '-')}" for name, value in int8_flags.items() if value is not None]
    images = ImageOptions(data=int8_flags["data"], data_root=int8_flags["data_root"])
    if flags["precise_stats"]:
        set_flags = [flag for flag in set_flags if flag not in ("--data", "--data-root")]
    unused = set_flags + extractor.given_flags
    if unused and not int8:
        raise UsageError(f"{', '.join(unused)}: only for --int8, which measures quality; add --int8 or leave it out")
    options = QuantizationOptions(**int8_flags, extractor=extractor) if int8 else None
    export_network(ExportOptions(checkpoint, images=images, int8=options, norm=norm, **flags))
