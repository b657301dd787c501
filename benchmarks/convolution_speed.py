"""Time the gradients of convolutions in bf16 on this CPU: torch's against those of `gan.nn.convolutions`, in turn.

    python benchmarks/convolution_speed.py

For each layer of the DCGAN pair: milliseconds of forward and backward for a batch of 64, medians over rounds in which
both run one after the other, and the share of the machine's matrix-product rate that ours reaches.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from gan.nn import convolutions
from gan.nn.convolutions import Conv2d, ConvTranspose2d

BATCH = 64
ROUNDS = 15
LAYERS = [
    (Conv2d(3, 64, 3, padding=1), 32),
    (Conv2d(64, 64, 4, stride=2, padding=1), 32),
    (Conv2d(64, 128, 3, padding=1), 16),
    (Conv2d(128, 128, 4, stride=2, padding=1), 16),
    (Conv2d(128, 256, 3, padding=1), 8),
    (Conv2d(256, 256, 4, stride=2, padding=1), 8),
    (Conv2d(256, 512, 3, padding=1), 4),
    (ConvTranspose2d(128, 512, 4, bias=False), 1),
    (ConvTranspose2d(512, 256, 4, stride=2, padding=1, bias=False), 4),
    (ConvTranspose2d(256, 128, 4, stride=2, padding=1, bias=False), 8),
    (ConvTranspose2d(128, 64, 4, stride=2, padding=1, bias=False), 16),
    (ConvTranspose2d(64, 3, 3, padding=1), 32),
]


def main() -> None:
    """Print the table."""
    matrix = torch.randn(2048, 2048).bfloat16()
    rate = 2 * 2048**3 / min(seconds(lambda: matrix @ matrix) for _ in range(ROUNDS))
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, matrix products {rate / 1e9:.0f} GFLOP/s\n")
    print("| layer | map | torch, ms | ours, ms | ratio | share of the matrix-product rate |")
    print("| --- | --- | --- | --- | --- | --- |")
    takes = convolutions._has_faster_gradients
    for layer, size in LAYERS:
        layer.to(memory_format=torch.channels_last)
        x = torch.randn(BATCH, layer.in_channels, size, size).bfloat16()
        x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
        times: dict[str, list[float]] = {"torch": [], "ours": []}
        for _ in range(ROUNDS + 2):
            for name, found in times.items():
                convolutions._has_faster_gradients = takes if name == "ours" else lambda layer, x: False
                found.append(seconds(partial(step, layer, x)))
        convolutions._has_faster_gradients = takes
        torchs, ours = (statistics.median(found[2:]) for found in times.values())
        small = min(size, layer(x).shape[2]) if layer.stride[0] > 1 or size > 1 else 1
        flop = 6 * BATCH * small**2 * layer.weight.numel()  # forward and two gradients
        kind = "transposed " if isinstance(layer, nn.ConvTranspose2d) else ""
        kernel = f"{layer.in_channels} → {layer.out_channels}, k{layer.kernel_size[0]} s{layer.stride[0]}"
        cells = (f"{kind}{kernel}", size, f"{torchs * 1e3:.1f}", f"{ours * 1e3:.1f}", f"{torchs / ours:.2f}")
        print(f"| {' | '.join(map(str, cells))} | {flop / ours / rate:.0%} |", flush=True)


def step(layer: nn.Module, x: torch.Tensor) -> None:
    """Forward and backward of one layer."""
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    y.backward(y.detach())


def seconds(call: Callable[[], object]) -> float:
    """That a call takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
