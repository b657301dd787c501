"""Write ONNX files with torch's exporter and run them with ONNX Runtime"""

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
DEFAULT_OPSET = 18  # the lowest that torch's exporter writes; lower ones are converted from it


def write_onnx(source: ExportSource, folded: FoldedNetwork, metadata: dict[str, str], opset: int) -> bytes:
    """Return the bytes of an ONNX file; the errors are those of `onnx_graph`."""
    model = onnx_graph(source, folded, opset)
    set_metadata(model, metadata)
    return model.SerializeToString()


def onnx_graph(source: ExportSource, folded: FoldedNetwork, opset: int = DEFAULT_OPSET) -> onnx.ModelProto:
    """Convert a folded network to an ONNX model with a dynamic batch dimension and the source's input and output names.

    Raises:
        UserError: the installed exporter cannot write that opset.
    """
    import onnx.version_converter

    if opset > onnx.defs.onnx_opset_version():
        raise UserError(f"--opset {opset}: the installed onnx supports opsets up to {onnx.defs.onnx_opset_version()}")
    # Two examples: a size of 1 would be traced as a constant.
    examples = random_inputs(source, 2)
    batch = torch.export.Dim("batch")
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):  # some versions of onnxscript print
        warnings.simplefilter("ignore")  # of the exporter's internals, and that both inputs have the same batch
        program = torch.onnx.export(
            with_merged_kernels(folded.network),
            examples,
            dynamo=True,
            verbose=False,
            opset_version=max(opset, DEFAULT_OPSET),
            input_names=[port.name for port in source.inputs],
            output_names=[source.output.name],
            dynamic_shapes=tuple({0: batch} for _ in examples),
        )
    assert program is not None
    model = program.model_proto
    _remove_debug_info(model)
    if opset < DEFAULT_OPSET:
        with suppress(RuntimeError):  # an operator that the older version lacks; reported below
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
    """Replace the metadata of a model."""
    import onnx.helper

    onnx.helper.set_model_props(model, metadata)
    model.producer_name, model.producer_version = "msn-gan", __version__


def load_onnx(content: bytes, source: ExportSource) -> NetworkFunction:
    """Load an ONNX model into ONNX Runtime on the CPU with torch's number of threads; a UserError if it is rejected."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no public base class
        reason = str(error).splitlines()[0]
        raise UserError(f"the installed ONNX Runtime rejects the model ({reason}); try a lower --opset") from error
    names = [port.name for port in source.inputs]

    def run(inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        feed = {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)}
        return torch.from_numpy(session.run([source.output.name], feed)[0])

    return run


def _remove_debug_info(model: onnx.ModelProto) -> None:
    """Remove the exporter's annotations of nodes, such as source lines with paths of this machine."""
    graph = model.graph
    items: list[Any] = [model, graph]
    for group in (graph.node, graph.input, graph.output, graph.value_info, graph.initializer):
        items.extend(group)
    for item in items:
        for field in {"metadata_props", "doc_string"} & set(item.DESCRIPTOR.fields_by_name):
            item.ClearField(field)
