"""Export trained networks: normalization folded, as ONNX, safetensors or torch.export files."""
