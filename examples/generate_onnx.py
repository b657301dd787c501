"""Generate a grid of images with only ONNX Runtime and numpy: python generate_onnx.py generator.onnx images.png"""

import json
import struct
import sys
import zlib

import numpy as np
import onnxruntime

ROWS, COLUMNS = 8, 8


def png(image: np.ndarray) -> bytes:
    """Encode uint8 pixels (height, width, 1 or 3) as a PNG file."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, channels = image.shape
    head = struct.pack(">IIBBBBB", width, height, 8, 0 if channels == 1 else 2, 0, 0, 0)
    rows = np.pad(image.reshape(height, -1), ((0, 0), (1, 0)))  # each row starts with its filter type: 0, none
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
latents, *labels = json.loads(session.get_modelmeta().custom_metadata_map["inputs"])
rng = np.random.default_rng(0)  # another seed gives other images
feeds = {"latents": rng.standard_normal((ROWS * COLUMNS, latents["shape"][1]), dtype=np.float32)}
for port in labels:  # of a class-conditional generator: each class in turn
    feeds[port["name"]] = np.arange(ROWS * COLUMNS) % int(port["range"][1] + 1)
(images,) = session.run(["images"], feeds)  # (N, C, H, W)
if images.dtype != np.uint8:  # exported without --uint8
    images = np.clip(np.rint((images + 1) * 127.5), 0, 255).astype(np.uint8)
grid = images.reshape(ROWS, COLUMNS, *images.shape[1:]).transpose(0, 3, 1, 4, 2)  # (rows, H, columns, W, C)
with open(sys.argv[2], "wb") as file:
    file.write(png(grid.reshape(ROWS * images.shape[2], COLUMNS * images.shape[3], -1)))
