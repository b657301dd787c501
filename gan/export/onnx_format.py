"""ONNX files: made of a folded network by torch's exporter, and run by ONNX Runtime."""

from __future__ import annotations

import io
import warnings
from contextlib import redirect_stdout, suppress
from typing import TYPE_CHECKING, Any

import torch

from gan import __version__
from gan.errors import UserError
from gan.export.convolutions import with_merged_kernels
from gan.export.folding import FoldedNetwork
from gan.export.network import ExportSource, random_inputs
from gan.export.verify import NetworkFunction

if TYPE_CHECKING:
    import onnx

OPSETS = range(16, 26)
DEFAULT_OPSET = 18  # what torch's exporter writes itself; the others are converted from it


def write_onnx(subject: ExportSource, folded: FoldedNetwork, metadata: dict[str, str], opset: int) -> bytes:
    """The bytes of an ONNX file.

    Raises:
        UserError: the installed exporter cannot write that opset.
    """
    model = onnx_graph(subject, folded, opset)
    set_metadata(model, metadata)
    return model.SerializeToString()


def onnx_graph(subject: ExportSource, folded: FoldedNetwork, opset: int = DEFAULT_OPSET) -> onnx.ModelProto:
    """The folded network as an ONNX model, its batch dimension free, its inputs and output named as the subject's.

    Raises:
        UserError: the installed exporter cannot write that opset.
    """
    import onnx.version_converter

    if opset > onnx.defs.onnx_opset_version():
        raise UserError(f"--opset {opset}: the installed onnx knows them up to {onnx.defs.onnx_opset_version()} only")
    # Two examples: a size of 1 would be taken for a constant.
    examples = random_inputs(subject, 2)
    batch = torch.export.Dim("batch")
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):  # some versions of onnxscript print
        warnings.simplefilter("ignore")  # about its own innards, and that both inputs have the same batch
        program = torch.onnx.export(
            with_merged_kernels(folded.network),
            examples,
            dynamo=True,
            verbose=False,
            opset_version=max(opset, DEFAULT_OPSET),
            input_names=[port.name for port in subject.inputs],
            output_names=[subject.output.name],
            dynamic_shapes=tuple({0: batch} for _ in examples),
        )
    assert program is not None
    model = program.model_proto
    _strip(model)
    if opset < DEFAULT_OPSET:
        with suppress(RuntimeError):  # an operator that the older version does not have; told below
            model = onnx.version_converter.convert_version(model, opset)
    versions = {entry.domain: entry.version for entry in model.opset_import}
    if versions != {"": opset}:
        raise UserError(
            f"--opset {opset}: the installed torch and onnxscript cannot write it; try --opset {DEFAULT_OPSET}"
        )
    # The oldest format that has this opset: old runtimes refuse newer ones.
    model.ir_version = onnx.helper.find_min_ir_version_for(list(model.opset_import))
    onnx.checker.check_model(model, full_check=True)
    return model


def set_metadata(model: onnx.ModelProto, metadata: dict[str, str]) -> None:
    """Write metadata into a model, in place of what it has."""
    import onnx.helper

    onnx.helper.set_model_props(model, metadata)
    model.producer_name, model.producer_version = "msn-gan", __version__


def load_onnx(content: bytes, subject: ExportSource) -> NetworkFunction:
    """An ONNX model as ONNX Runtime runs it on the CPU, with as many threads as torch has.

    Raises:
        UserError: the installed ONNX Runtime refuses the model.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its classes have no public base
        reason = str(error).splitlines()[0]
        raise UserError(f"the installed ONNX Runtime refuses it ({reason}); try a lower --opset") from error
    names = [port.name for port in subject.inputs]

    def run(inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        given = {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)}
        return torch.from_numpy(session.run([subject.output.name], given)[0])

    return run


def _strip(model: onnx.ModelProto) -> None:
    """Remove what the exporter noted on each node: source lines with the paths of this machine, above all."""
    parts = model.graph
    items: list[Any] = [model, parts]
    for group in (parts.node, parts.input, parts.output, parts.value_info, parts.initializer):
        items.extend(group)
    for item in items:
        for field in {"metadata_props", "doc_string"} & set(item.DESCRIPTOR.fields_by_name):
            item.ClearField(field)
