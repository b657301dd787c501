"""8-bit integers in place of fp32: ONNX Runtime's static quantization.

Weights are int8 with a scale for each output channel; activations are int8 with a scale for each tensor, whose range is
what the calibration inputs reach. The graph is in QDQ form: QuantizeLinear and DequantizeLinear around each operator,
which a runtime merges into integer kernels where it has them.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from gan.export.network import GENERATOR, ExportSource

if TYPE_CHECKING:
    import onnx

# What integer kernels exist for, and what only moves numbers about between them.
_QUANTIZED = [
    "Conv",
    "ConvTranspose",
    "Gemm",
    "Relu",
    "LeakyRelu",
    "Add",
    "MaxPool",
    "AveragePool",
    "GlobalAveragePool",
    "Concat",
    "Reshape",
    "Flatten",
    "Resize",
]
_WEIGHTED = ("Conv", "ConvTranspose", "Gemm")


def quantize_onnx(model: onnx.ModelProto, batches: list[tuple[Tensor, ...]], subject: ExportSource) -> onnx.ModelProto:
    """The model in 8-bit integers.

    The last layer of a generator, its tanh and the map to bytes stay in fp32: that layer is small, and what is rounded
    there goes into the pixels as it is. The logits of the others are given in fp32.

    Args:
        batches: inputs that reach the range of values that the network will meet.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._left = iter(batches)

        def get_next(self) -> dict[str, Any] | None:
            inputs = next(self._left, None)
            if inputs is None:
                return None
            return {port.name: part.numpy() for port, part in zip(subject.inputs, inputs, strict=True)}

    with tempfile.TemporaryDirectory(prefix="msn-gan-int8-") as folder:
        whole, ready, small = (Path(folder, f"{name}.onnx") for name in ("whole", "ready", "int8"))
        onnx.save(model, whole)
        quant_pre_process(whole, ready, skip_symbolic_shape=True)
        quantize_static(
            ready,
            small,
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=_QUANTIZED,
            nodes_to_exclude=_left_in_fp32(onnx.load(ready), subject),
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm"]},
        )
        found = onnx.load(small)
    used = {node.domain for node in found.graph.node}
    needed = [entry for entry in found.opset_import if entry.domain in used]
    del found.opset_import[:]
    found.opset_import.extend(needed)  # the quantizer lists all that it knows, which other runtimes need not
    return found


def _left_in_fp32(model: onnx.ModelProto, subject: ExportSource) -> list[str]:
    """Names of the nodes that are not quantized: constant scales and shifts, and the end of a generator."""
    nodes = list(model.graph.node)
    constants = {tensor.name for tensor in model.graph.initializer}
    names = [node.name for node in nodes if node.op_type in ("Add", "Mul") and constants & set(node.input)]
    if subject.what == GENERATOR:
        last = max(index for index, node in enumerate(nodes) if node.op_type in _WEIGHTED)
        names += [node.name for node in nodes[last:]]
    return names
