"""Trained networks for other programs and small devices: folded, as ONNX, safetensors or torch.export files."""

from gan.export.export import Request, write

__all__ = ["Request", "write"]
