"""Export a network of a checkpoint to a file: the `export` command"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan.errors import UsageError
from gan.export import onnx_format, onnx_int8
from gan.export.calibration import QuantizationData, QuantizationOptions
from gan.export.convolutions import without_transposed
from gan.export.folding import FoldedNetwork, fold_to_plain_layers
from gan.export.formats import FORMATS, Format
from gan.export.network import GENERATOR, ExportSource, file_metadata, load_export_source, random_inputs
from gan.export.precise_statistics import use_precise_statistics
from gan.export.training_images import ImageOptions, TrainingImages
from gan.export.verify import COMPARED_INPUTS, as_function, compare_outputs, require_close
from gan.runs.run_dir import default_output_name
from gan.utils import optional_packages
from gan.utils.files import atomic_write, removing_new_folders, require_new, require_writable
from gan.utils.progress import say

if TYPE_CHECKING:
    import onnx

_QUALITIES = {"accuracy": ("accuracy", ".2%"), "fid": ("FID", ".2f")}  # title and number format


@dataclass(frozen=True)
class ExportOptions:
    """The command line of `msn-gan export`."""

    checkpoint: Path
    what: str | None = None
    """`generator` or `discriminator`; None: a GAN's generator, or the classifier."""
    format: str = "onnx"
    ema: bool | None = None
    """None: the EMA weights, if there are any."""
    opset: int | None = None
    uint8: bool = False
    precise_stats: int = 0
    """Batches over which running statistics are recomputed; 0: those of the training."""
    images: ImageOptions = ImageOptions()
    int8: QuantizationOptions | None = None
    """None: fp32."""
    out: Path | None = None
    overwrite: bool = False
    """Replace the file if it exists."""
    network: tuple[str, ...] = ()
    """Networks of the user's own, whose code may run."""
    norm: tuple[str, ...] = ()
    """Norms of the user's own, for a discriminator or a classifier; likewise."""


def export_network(options: ExportOptions) -> Path:
    """Export a network and return the path of its file.

    Raises:
        UsageError: flags that contradict each other or the checkpoint.
        UserError: the checkpoint cannot be used, packages are missing, the folder cannot be written to, or the exported
            network differs from the trained one.
        OSError: the file itself cannot be written. In every case no file is left under the final name.
    """
    form = FORMATS[options.format]
    _check_options(options, form)
    if form.packages:
        optional_packages.require_packages(f"--format {options.format}", form.packages)
    source = load_export_source(
        options.checkpoint,
        options.what,
        ema=options.ema,
        uint8=options.uint8,
        network=options.network,
        norm=options.norm,
    )
    path = options.out or _default_path(options, source, form)
    require_new(path, "--out", overwrite=options.overwrite)
    with removing_new_folders(path.parent):
        require_writable(path.parent, "--out")
        content = _file_content(options, source, form, path)
        with atomic_write(path) as file:
            file.write(content)
    say(f"wrote {path} ({_kilobytes(content)})", link=path)
    return path


def _check_options(options: ExportOptions, form: Format) -> None:
    """Reject everything that can be rejected before the checkpoint is read."""
    if options.format != "onnx":
        for flag, value in (("--int8", options.int8), ("--opset", options.opset)):
            if value is not None:
                raise UsageError(f"{flag}: is for --format onnx, not for {options.format}")
    if options.format == "safetensors" and options.uint8:
        raise UsageError("--uint8: safetensors contain weights, no operations; use --format onnx or torch-export")
    if options.opset is not None and options.opset not in onnx_format.OPSETS:
        first, last = onnx_format.OPSETS[0], onnx_format.OPSETS[-1]
        raise UsageError(f"--opset {options.opset}: choose from {first} to {last}")
    if options.out is not None:
        if options.out.suffix != form.suffix:
            raise UsageError(f"--out {options.out}: a file of --format {options.format} ends in {form.suffix}")
        if options.out.is_dir():
            raise UsageError(f"--out {options.out}: is a folder")
        require_new(options.out, "--out", overwrite=options.overwrite)


def _default_path(options: ExportOptions, source: ExportSource, form: Format) -> Path:
    """exports/RUN-step-00001000-generator.onnx; RUN has all folders, since two comparisons may share the last one."""
    name = source.recipe["checkpoint"]["name"].removesuffix(".pt")
    folder = options.checkpoint if options.checkpoint.is_dir() else options.checkpoint.parent
    run = "-".join(default_output_name(folder).parts)
    ending = "-int8" if options.int8 is not None else ""
    return Path("exports") / f"{run}-{name}-{source.kind}{ending}{form.suffix}"


def _file_content(options: ExportOptions, source: ExportSource, form: Format, path: Path) -> bytes:
    """The bytes of the file, verified against the trained network."""
    quantization = None if options.int8 is None else QuantizationData(source, options.int8)
    facts: dict[str, Any] = {}
    if options.precise_stats and _take_statistics(options, source, quantization):
        facts["precise_stats"] = options.precise_stats
    folded = fold_to_plain_layers(source.network)
    for line in folded.describe_remaining():
        say(line)
    opset = options.opset or onnx_format.DEFAULT_OPSET
    if options.format == "onnx":
        facts["opset"] = opset
    content = form.write(source, folded, file_metadata(source, folded, **facts), opset)
    _verify(source, form, content, path)
    if quantization is not None:
        fp32 = content
        model, quality = _quantize(quantization, folded, opset, path)
        onnx_format.set_metadata(model, file_metadata(source, folded, **facts, int8=quality))
        content = model.SerializeToString()
        _verify(source, form, content, path, int8=True)
        say(f"size: {_kilobytes(fp32)} in fp32, {_kilobytes(content)} in int8")
    return content


def _take_statistics(options: ExportOptions, source: ExportSource, images: TrainingImages | None) -> bool:
    """Recompute the running statistics, with `images` if they are loaded; False, and a message, if there are none."""
    named = [
        flag for flag, value in (("--data", options.images.data), ("--data-root", options.images.data_root)) if value
    ]
    if source.kind == GENERATOR and images is None and named:
        raise UsageError(f"{', '.join(named)}: for a generator --precise-stats needs latents alone; leave it out")
    if source.on_generated and options.images.data is None:
        raise UsageError("--precise-stats: the classifier was trained on generated images; name images with --data")
    if images is None and source.kind != GENERATOR:
        images = TrainingImages(source, options.images, "--precise-stats")
    if use_precise_statistics(source, options.precise_stats, images):
        return True
    say(f"--precise-stats {options.precise_stats}: this {source.kind} has no running statistics, so nothing changes")
    return False


def _verify(source: ExportSource, form: Format, content: bytes, path: Path, *, int8: bool = False) -> None:
    """Load the file's bytes and compare; an int8 network only has to output finite numbers of the same shape."""
    inputs = random_inputs(source, COMPARED_INPUTS)
    difference = compare_outputs(as_function(source.network), form.load(content, source), inputs, path)
    if int8 and source.kind == GENERATOR:
        say(f"int8 against the trained network, {COMPARED_INPUTS} random inputs: {difference.picture_text()}")
        return
    mean = f", {difference.mean:.2g} on average" if int8 else ""
    say(
        f"largest difference from the trained network, {COMPARED_INPUTS} random inputs{', int8' if int8 else ''}: "
        f"{difference}{mean}"
    )
    if not int8:
        require_close(difference, path)


def _quantize(
    images: QuantizationData, folded: FoldedNetwork, opset: int, path: Path
) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """The int8 model, and its quality before and after quantization for the metadata."""
    source = images.source
    trained = as_function(source.network)
    network = without_transposed(folded.network, random_inputs(source, 2))
    model = onnx_format.onnx_graph(source, replace(folded, network=network), opset)
    unquantized = onnx_format.load_onnx(model.SerializeToString(), source)
    require_close(compare_outputs(trained, unquantized, random_inputs(source, COMPARED_INPUTS), path), path)
    model = onnx_int8.quantize_onnx(model, images.calibration_inputs(), source)
    quantized = onnx_format.load_onnx(model.SerializeToString(), source)
    quality: dict[str, Any] = {"measured_on": images.description()}
    before, after = images.quality(trained), images.quality(quantized)
    for name, value in before.items():
        quality[name] = {"fp32": value, "int8": after[name]}
        title, form = _QUALITIES[name]
        say(f"{title}: {value:{form}} in fp32, {after[name]:{form}} in int8 ({images.description()})")
    if not before:
        quality |= images.agreement(trained, quantized)
        say(
            f"int8 and fp32 agree on {quality['same_verdict']:.2%} of {images.description()}; accuracy of real against "
            f"generated: {quality['accuracy']['fp32']:.2%} in fp32, {quality['accuracy']['int8']:.2%} in int8; the "
            f"logits differ by {quality['noise']:.1%} of their standard deviation"
        )
    return model, quality


def _kilobytes(content: bytes) -> str:
    return f"{len(content) / 1000:,.0f} kB"
