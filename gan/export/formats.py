"""Files of a network: safetensors and torch.export, and the table of all formats. ONNX has its own module."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gan.export import onnx_format
from gan.export.convolutions import with_merged_kernels
from gan.export.folding import FoldedNetwork, fold_to_plain_layers
from gan.export.network import ExportSource, random_inputs
from gan.export.verify import NetworkFunction, as_function

METADATA = "msn-gan.json"  # what a torch.export file calls it


@dataclass(frozen=True)
class Format:
    """A kind of file: how its bytes are made of a folded network, and how they run once they are loaded again."""

    suffix: str
    packages: tuple[str, ...]
    """Of the extra `onnx`, that it needs."""
    write: Callable[[ExportSource, FoldedNetwork, dict[str, str], int], bytes]
    """Of the network, its folded form, the metadata and the opset."""
    load: Callable[[bytes, ExportSource], NetworkFunction]


def trace(network: nn.Module, subject: ExportSource) -> torch.export.ExportedProgram:
    """The operations of a network, for batches of any size."""
    # Two examples: a size of 1 would be taken for a constant.
    examples = random_inputs(subject, 2)
    batch = torch.export.Dim("batch")
    return torch.export.export(network, examples, dynamic_shapes=tuple({0: batch} for _ in examples))


def _write_torch(subject: ExportSource, folded: FoldedNetwork, metadata: dict[str, str], opset: int) -> bytes:
    buffer = io.BytesIO()
    network = with_merged_kernels(folded.network)
    torch.export.save(trace(network, subject), buffer, extra_files={METADATA: json.dumps(metadata)})
    return buffer.getvalue()


def _load_torch(content: bytes, subject: ExportSource) -> NetworkFunction:
    return as_function(torch.export.load(io.BytesIO(content)).module())


def _write_safetensors(subject: ExportSource, folded: FoldedNetwork, metadata: dict[str, str], opset: int) -> bytes:
    from safetensors.torch import save

    return save({name: tensor.contiguous() for name, tensor in folded.network.state_dict().items()}, metadata)


def _load_safetensors(content: bytes, subject: ExportSource) -> NetworkFunction:
    """The weights in a network built anew and folded without them: the file and its recipe are all that it takes."""
    from safetensors.torch import load

    weights: dict[str, Tensor] = load(content)
    network = fold_to_plain_layers(subject.fresh()).network
    network.load_state_dict(weights)
    return as_function(network)


FORMATS: dict[str, Format] = {
    "onnx": Format(".onnx", ("onnx", "onnxruntime", "onnxscript"), onnx_format.write_onnx, onnx_format.load_onnx),
    "safetensors": Format(".safetensors", ("safetensors",), _write_safetensors, _load_safetensors),
    "torch-export": Format(".pt2", (), _write_torch, _load_torch),
}
