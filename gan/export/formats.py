"""Write and load safetensors and torch.export files; the table of all formats, with ONNX"""

import io
import json
from collections.abc import Callable
from dataclasses import dataclass

import torch

from gan.export import onnx_format
from gan.export.convolutions import with_merged_kernels
from gan.export.folding import FoldedNetwork, fold_to_plain_layers
from gan.export.network import ExportSource, random_inputs
from gan.export.verify import NetworkFunction, as_function

METADATA = "msn-gan.json"  # the metadata's name in a torch.export file


@dataclass(frozen=True)
class Format:
    """A file format: functions that write a folded network and load it again."""

    suffix: str
    packages: tuple[str, ...]
    """Required packages of the extra `onnx`."""
    write: Callable[[ExportSource, FoldedNetwork, dict[str, str], int], bytes]
    """Takes the source, the folded network, the metadata and the opset; returns the file's bytes."""
    load: Callable[[bytes, ExportSource], NetworkFunction]


def _write_torch(source: ExportSource, folded: FoldedNetwork, metadata: dict[str, str], opset: int) -> bytes:
    examples = random_inputs(source, 2)  # a batch of 1 would be traced as a constant
    shapes = tuple({0: torch.export.Dim("batch")} for _ in examples)
    program = torch.export.export(with_merged_kernels(folded.network), examples, dynamic_shapes=shapes)
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={METADATA: json.dumps(metadata)})
    return buffer.getvalue()


def _load_torch(content: bytes, source: ExportSource) -> NetworkFunction:
    return as_function(torch.export.load(io.BytesIO(content)).module())


def _write_safetensors(source: ExportSource, folded: FoldedNetwork, metadata: dict[str, str], opset: int) -> bytes:
    from safetensors.torch import save

    return save({name: tensor.contiguous() for name, tensor in folded.network.state_dict().items()}, metadata)


def _load_safetensors(content: bytes, source: ExportSource) -> NetworkFunction:
    """Load the weights into a new network, folded before they are loaded: only the file and its recipe are needed."""
    from safetensors.torch import load

    network = fold_to_plain_layers(source.build()).network
    network.load_state_dict(load(content))
    return as_function(network)


FORMATS: dict[str, Format] = {
    "onnx": Format(".onnx", ("onnx", "onnxruntime", "onnxscript"), onnx_format.write_onnx, onnx_format.load_onnx),
    "safetensors": Format(".safetensors", ("safetensors",), _write_safetensors, _load_safetensors),
    "torch-export": Format(".pt2", (), _write_torch, _load_torch),
}
