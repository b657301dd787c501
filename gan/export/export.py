"""The `export` command behind its flags: a network of a checkpoint as a file, checked before it is kept."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gan.errors import UsageError
from gan.export import calibration, onnx_format, onnx_int8
from gan.export import network as subjects
from gan.export.convolutions import without_transposed
from gan.export.folding import FoldedNetwork, fold_to_plain_layers
from gan.export.formats import FORMATS, Format
from gan.export.network import ExportSource, file_metadata
from gan.export.verify import COMPARED_INPUTS, as_function, compare_outputs, require_close
from gan.runs.run_dir import default_output_name
from gan.utils import optional_packages
from gan.utils.files import atomic_write, require_writable
from gan.utils.progress import say

_SHOWN = {"accuracy": ("accuracy", ".2%"), "fid": ("FID", ".2f")}  # how people are told of a quality


@dataclass(frozen=True)
class ExportOptions:
    """What `msn-gan export` is asked for."""

    checkpoint: Path
    what: str | None = None
    format: str = "onnx"
    ema: bool | None = None
    """None: the average, where there is one."""
    opset: int | None = None
    uint8: bool = False
    int8: calibration.QuantizationOptions | None = None
    """None: fp32."""
    out: Path | None = None


def export_network(request: ExportOptions) -> Path:
    """Export a network; returns where its file is.

    Raises:
        UsageError: flags that do not go together, or not with the checkpoint.
        UserError: the checkpoint cannot be used, packages are missing, nothing can be written beside the file, or the
            exported network is not the trained one.
        OSError: the file itself cannot be written. Nothing is left under the final name then, here as there.
    """
    form = FORMATS[request.format]
    _check_flags(request, form)
    if form.packages:
        optional_packages.require_packages(f"--format {request.format}", form.packages)
    subject = subjects.load_export_source(request.checkpoint, request.what, ema=request.ema, uint8=request.uint8)
    target = request.out or _default(request, subject, form)
    made = [folder for folder in (target.parent, *target.parent.parents) if not folder.exists()]
    require_writable(target.parent, "--out")
    try:
        content = _content(request, subject, form, target)
        with atomic_write(target) as file:
            file.write(content)
    except BaseException:
        for folder in made:
            with suppress(OSError):
                folder.rmdir()
        raise
    say(f"wrote {target} ({_kilobytes(content)})")
    return target


def _content(request: ExportOptions, subject: ExportSource, form: Format, target: Path) -> bytes:
    """The bytes of the file, seen to be the trained network."""
    quantizer = None if request.int8 is None else calibration.Quantizer(subject, request.int8)

    folded = fold_to_plain_layers(subject.network)
    for line in folded.told():
        say(line)
    opset = request.opset or onnx_format.DEFAULT_OPSET
    more: dict[str, Any] = {} if request.format != "onnx" else {"opset": opset}
    content = form.write(subject, folded, file_metadata(subject, folded, **more), opset)
    _check(subject, form, content, target)
    if quantizer is not None:
        fp32 = content
        content, cost = _quantized(quantizer, folded, opset, target)
        content = _relabelled(content, file_metadata(subject, folded, **more, int8=cost))
        _check(subject, form, content, target, int8=True)
        say(f"size: {_kilobytes(fp32)} in fp32, {_kilobytes(content)} in int8")
    return content


def _check_flags(request: ExportOptions, form: Format) -> None:
    """Refuse what can be refused before the checkpoint is read."""
    if request.format != "onnx":
        for flag, given in (("--int8", request.int8 is not None), ("--opset", request.opset is not None)):
            if given:
                raise UsageError(f"{flag}: belongs to --format onnx, not to {request.format}")
    if request.format == "safetensors" and request.uint8:
        raise UsageError("--uint8: safetensors hold weights and no operations; use --format onnx or torch-export")
    if request.opset is not None and request.opset not in onnx_format.OPSETS:
        first, last = onnx_format.OPSETS[0], onnx_format.OPSETS[-1]
        raise UsageError(f"--opset {request.opset}: choose from {first} to {last}")
    if request.out is not None:
        if request.out.suffix != form.suffix:
            raise UsageError(f"--out {request.out}: a file of --format {request.format} ends in {form.suffix}")
        if request.out.is_dir():
            raise UsageError(f"--out {request.out}: is a folder")


def _default(request: ExportOptions, subject: ExportSource, form: Format) -> Path:
    """exports/RUN-step-00001000-generator.onnx, the run's whole name: trainings of two comparisons may end alike."""
    name = subject.recipe["checkpoint"]["name"].removesuffix(".pt")
    folder = request.checkpoint if request.checkpoint.is_dir() else request.checkpoint.parent
    run = "-".join(default_output_name(folder).parts)
    ending = "-int8" if request.int8 is not None else ""
    return Path("exports") / f"{run}-{name}-{subject.what}{ending}{form.suffix}"


def _check(subject: ExportSource, form: Format, content: bytes, target: Path, *, int8: bool = False) -> None:
    """Load the file's bytes and compare; an int8 network is only required to give finite numbers of the same shape."""
    inputs = subjects.random_inputs(subject, COMPARED_INPUTS)
    difference = compare_outputs(as_function(subject.network), form.load(content, subject), inputs, target)
    say(
        f"largest difference from the trained network, {COMPARED_INPUTS} random inputs{', int8' if int8 else ''}: "
        f"{difference}"
    )
    if not int8:
        require_close(difference, target)


def _quantized(
    quantizer: calibration.Quantizer, folded: FoldedNetwork, opset: int, target: Path
) -> tuple[bytes, dict[str, Any]]:
    """The int8 model, and what it costs, for people and for the metadata."""
    subject = quantizer.subject
    trained = as_function(subject.network)
    network = without_transposed(folded.network, subjects.random_inputs(subject, 2))
    model = onnx_format.onnx_graph(subject, replace(folded, network=network), opset)
    whole = onnx_format.load_onnx(model.SerializeToString(), subject)
    require_close(compare_outputs(trained, whole, subjects.random_inputs(subject, COMPARED_INPUTS), target), target)
    small = onnx_int8.quantize_onnx(model, quantizer.calibration(), subject).SerializeToString()
    quantized = onnx_format.load_onnx(small, subject)
    cost: dict[str, Any] = {"measured_on": quantizer.about()}
    before, after = quantizer.quality(trained), quantizer.quality(quantized)
    for name, value in before.items():
        cost[name] = {"fp32": value, "int8": after[name]}
        told, shape = _SHOWN[name]
        say(f"{told}: {value:{shape}} in fp32, {after[name]:{shape}} in int8 ({quantizer.about()})")
    if not before:
        cost |= quantizer.agreement(trained, quantized)
        say(
            f"the same verdict in int8 on {cost['same_verdict']:.2%} of {quantizer.about()}; real and generated told "
            f"apart: {cost['accuracy']['fp32']:.2%} right in fp32, {cost['accuracy']['int8']:.2%} in int8; the logits "
            f"differ by {cost['noise']:.1%} of their spread"
        )
    return small, cost


def _relabelled(content: bytes, metadata: dict[str, str]) -> bytes:
    import onnx

    model = onnx.load_from_string(content)
    onnx_format.set_metadata(model, metadata)
    return model.SerializeToString()


def _kilobytes(content: bytes) -> str:
    return f"{len(content) / 1000:,.0f} kB"
