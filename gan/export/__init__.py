"""Export trained networks with folded normalization as ONNX, safetensors or torch.export files"""
