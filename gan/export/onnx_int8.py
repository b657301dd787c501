"""Quantize an ONNX model to 8-bit integers with ONNX Runtime's static quantization.

Weights are int8 with a scale per output channel; activations are int8 with a scale per tensor, from their range over
the calibration inputs. The graph is in QDQ form: QuantizeLinear and DequantizeLinear around each operator, which a
runtime fuses into integer kernels where it has them.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from gan.export.network import GENERATOR, ExportSource

if TYPE_CHECKING:
    import onnx

# Operators that have integer kernels, and those between them that only move values.
_QUANTIZED = (
    "Conv ConvTranspose Gemm Relu LeakyRelu Add MaxPool AveragePool GlobalAveragePool Concat Reshape Flatten Resize"
).split()
_WEIGHTED = ("Conv", "ConvTranspose", "Gemm")


def quantize_onnx(model: onnx.ModelProto, batches: list[tuple[Tensor, ...]], source: ExportSource) -> onnx.ModelProto:
    """Quantize a model to 8-bit integers.

    The last layer of a generator, its tanh and the conversion to bytes stay in fp32: that layer is small, and its
    rounding errors would go directly into the pixels. The logits of other networks are output in fp32.

    Args:
        batches: calibration inputs, which should cover the range of values in use.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._remaining = iter(batches)

        def get_next(self) -> dict[str, Any] | None:
            inputs = next(self._remaining, None)
            if inputs is None:
                return None
            return {port.name: part.numpy() for port, part in zip(source.inputs, inputs, strict=True)}

    with tempfile.TemporaryDirectory(prefix="msn-gan-int8-") as folder:
        fp32, prepared, int8 = (Path(folder, f"{name}.onnx") for name in ("fp32", "prepared", "int8"))
        onnx.save(model, fp32)
        quant_pre_process(fp32, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            int8,
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=_QUANTIZED,
            nodes_to_exclude=_fp32_nodes(onnx.load(prepared), source),
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm"]},
        )
        quantized = onnx.load(int8)
    used = {node.domain for node in quantized.graph.node}
    needed = [entry for entry in quantized.opset_import if entry.domain in used]
    del quantized.opset_import[:]
    quantized.opset_import.extend(needed)  # the quantizer lists all domains, some unknown to other runtimes
    return quantized


def _fp32_nodes(model: onnx.ModelProto, source: ExportSource) -> list[str]:
    """Names of the nodes that are not quantized: constant scales and shifts, and the last layers of a generator."""
    nodes = list(model.graph.node)
    constants = {tensor.name for tensor in model.graph.initializer}
    names = [node.name for node in nodes if node.op_type in ("Add", "Mul") and constants & set(node.input)]
    if source.kind == GENERATOR:
        last = max(index for index, node in enumerate(nodes) if node.op_type in _WEIGHTED)
        names += [node.name for node in nodes[last:]]
    return names
