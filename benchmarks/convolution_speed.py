"""Time forward and backward of bf16 convolutions on this CPU: torch's against `gan.nn.convolutions`.

    python benchmarks/convolution_speed.py

Prints for each layer of the DCGAN pair milliseconds for a batch of 64, medians over rounds in which both take turns,
and the rate of ours relative to this machine's matrix products.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from gan.bench.turns import take_turns
from gan.nn import convolutions
from gan.nn.convolutions import Conv2d, ConvTranspose2d
from gan.utils.environment import time_work
from gan.utils.markdown_table import markdown_table

BATCH = 64
ROUNDS = 15
WARM_UP = 2  # rounds that are not counted
CPU = torch.device("cpu")
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
    """Run the benchmark."""
    matrix = torch.randn(2048, 2048).bfloat16()
    rate = 2 * 2048**3 / min(time_work(lambda: matrix @ matrix, CPU) for _ in range(ROUNDS))
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, matrix products {rate / 1e9:.0f} GFLOP/s\n")
    header = ["layer", "map", "torch, ms", "ours, ms", "ratio", "share of the matrix-product rate"]
    print(markdown_table(header, (measure(layer, size, rate) for layer, size in LAYERS)))


def measure(layer: nn.Conv2d | nn.ConvTranspose2d, size: int, rate: float) -> list[object]:
    """Time one layer.

    Args:
        size: height and width of its input.
        rate: FLOP/s of matrix products.

    Returns:
        a row of the table.
    """
    layer.to(memory_format=torch.channels_last)
    x = torch.randn(BATCH, layer.in_channels, size, size).bfloat16()
    x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
    kind = "transposed " if isinstance(layer, nn.ConvTranspose2d) else ""
    name = f"{kind}{layer.in_channels} → {layer.out_channels}, k{layer.kernel_size[0]} s{layer.stride[0]}"
    has_faster_gradients = convolutions._has_faster_gradients

    def run(check: Callable[..., bool]) -> float:
        convolutions._has_faster_gradients = check
        return time_work(partial(step, layer, x), CPU)

    rounds = list(take_turns([lambda layer, x: False, has_faster_gradients], WARM_UP + ROUNDS, run, label=name))
    convolutions._has_faster_gradients = has_faster_gradients
    torchs, ours = (statistics.median(times[WARM_UP:]) for times in zip(*rounds, strict=True))
    small = min(size, layer(x).shape[2]) if layer.stride[0] > 1 or size > 1 else 1
    flop = 6 * BATCH * small**2 * layer.weight.numel()  # forward and two gradients
    return [
        name,
        size,
        f"{torchs * 1e3:.1f}",
        f"{ours * 1e3:.1f}",
        f"{torchs / ours:.2f}",
        f"{flop / ours / rate:.0%}",
    ]


def step(layer: nn.Module, x: torch.Tensor) -> None:
    """Run forward and backward of one layer."""
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    y.backward(y.detach())


if __name__ == "__main__":
    main()
