"""Time the layers of R3GAN that other networks do not have on this CPU: resampling and grouped convolutions.

    OMP_NUM_THREADS=1 python benchmarks/r3gan_speed.py

Each row is one layer in one precision, on channels-last maps at batch 16; each cell the milliseconds of a forward and
backward pass in one form, medians over rounds in which the forms take turns. All forms compute the same function. The
last table has the operations of torch that take most of the time of steps of the preset `r3gan-narrow`.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from gan.bench.turns import take_turns
from gan.config.presets import preset_config
from gan.config.train_config import TrainConfig
from gan.nn.resampling import downsample, upsample
from gan.runtime import resolve_runtime
from gan.training.setup import load_training_images
from gan.training.trainer import Trainer
from gan.utils.environment import time_work
from gan.utils.markdown_table import markdown_table

BATCH = 16
ROUNDS = 11
WARM_UP = 2  # rounds that are not counted
CPU = torch.device("cpu")
SHAPES = [(64, 8), (64, 16), (768, 8)]  # channels and size of the smaller map of a resampling
GROUPED = [(96, 4), (96, 16), (96, 32), (1536, 4)]  # channels and size of the maps of a 3×3 convolution
GROUP = 16
DTYPES = (torch.float32, torch.bfloat16)
CYCLES = 3  # of updates with and without penalties that are profiled
OPERATIONS = 10  # of the profile's table

Form = Callable[[Tensor], Tensor]


def taps(like: Tensor) -> Tensor:
    """The filter (1, 1, 4, 4), with a sum of 1, in the dtype of a map."""
    row = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=like.dtype)
    return torch.outer(row, row)[None, None] / 64


def up_textbook(x: Tensor) -> Tensor:
    """Depthwise transposed convolution in the dtype of the map."""
    channels = x.shape[1]
    return F.conv_transpose2d(x, 4 * taps(x).expand(channels, 1, 4, 4), stride=2, padding=1, groups=channels)


def up_one_channel(x: Tensor) -> Tensor:
    """The reference form of the authors' code: the channels as images of one channel."""
    maps = x.reshape(-1, 1, *x.shape[2:])
    return F.conv_transpose2d(maps, 4 * taps(x), stride=2, padding=1).unflatten(0, x.shape[:2]).squeeze(2)


def up_bilinear(x: Tensor) -> Tensor:
    """Bilinear interpolation with zeros beyond the border."""
    return F.interpolate(F.pad(x, (1, 1, 1, 1)), scale_factor=2, mode="bilinear")[:, :, 2:-2, 2:-2]


def down_textbook(x: Tensor) -> Tensor:
    """Depthwise convolution of stride 2 in the dtype of the map."""
    channels = x.shape[1]
    return F.conv2d(x, taps(x).expand(channels, 1, 4, 4), stride=2, padding=1, groups=channels)


def down_one_channel(x: Tensor) -> Tensor:
    """The reference form of the authors' code: the channels as images of one channel."""
    maps = x.reshape(-1, 1, *x.shape[2:])
    return F.conv2d(maps, taps(x), stride=2, padding=1).unflatten(0, x.shape[:2]).squeeze(2)


def down_means(x: Tensor) -> Tensor:
    """Three 2×2 means: [1, 3, 3, 1] is [1, 1] convolved twice with itself."""
    return F.avg_pool2d(F.avg_pool2d(F.avg_pool2d(x, 2, 1, 1), 2, 1), 2)


def grouped(x: Tensor, weight: Tensor) -> Tensor:
    """torch's grouped 3×3 convolution."""
    return F.conv2d(x, weight, padding=1, groups=x.shape[1] // GROUP)


def dense(x: Tensor, weight: Tensor) -> Tensor:
    """A convolution of all channels whose weights between groups are 0."""
    count = x.shape[1] // GROUP
    blocks = weight.new_zeros(count, GROUP, count, *weight.shape[1:])
    index = torch.arange(count)
    blocks[index, :, index] = weight.unflatten(0, (count, GROUP))
    kernel = blocks.flatten(2, 3).flatten(0, 1)  # (groups, 16, groups, 16, 3, 3) -> (C, C, 3, 3)
    return F.conv2d(x, kernel.contiguous(memory_format=torch.channels_last), padding=1)


def products(x: Tensor, weight: Tensor) -> Tensor:
    """One matrix product for each group, over unfolded patches."""
    (batch, channels, height, width), count = x.shape, x.shape[1] // GROUP
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    patches = torch.stack([padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)], 3)
    rows = patches.view(-1, 9, count, GROUP).permute(2, 0, 1, 3).reshape(count, -1, 9 * GROUP)  # (groups, NHW, 9*16)
    columns = weight.view(count, GROUP, GROUP, 9).permute(0, 3, 2, 1).reshape(count, 9 * GROUP, GROUP)
    return torch.bmm(rows, columns).permute(1, 0, 2).reshape(batch, height, width, channels).permute(0, 3, 1, 2)


UP: dict[str, Form] = {
    "ours": upsample,
    "depthwise": up_textbook,
    "one channel": up_one_channel,
    "bilinear": up_bilinear,
}
DOWN: dict[str, Form] = {
    "ours": downsample,
    "depthwise": down_textbook,
    "one channel": down_one_channel,
    "three means": down_means,
}
CONVOLUTIONS = {"grouped": grouped, "dense": dense, "matrix products": products}


def main() -> None:
    """Run the benchmark."""
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, batch {BATCH}, milliseconds\n")
    for title, forms, scale in (("upsampling", UP, 1), ("downsampling", DOWN, 2)):
        rows = [
            measure(f"{channels} at {scale * size}", forms, random_map(channels, scale * size, dtype), ROUNDS)
            for dtype in DTYPES
            for channels, size in SHAPES
        ]
        print(markdown_table([title, "precision", *forms], rows, align_right=True), end="\n\n")
    rows = []
    for dtype in DTYPES:
        for channels, size in GROUPED:
            weight = random_weight(channels, dtype)
            forms = {name: partial(form, weight=weight) for name, form in CONVOLUTIONS.items()}
            rows.append(measure(f"{channels} at {size}", forms, random_map(channels, size, dtype), ROUNDS))
    print(markdown_table(["3×3 in groups of 16", "precision", *CONVOLUTIONS], rows, align_right=True), end="\n\n")
    config = dataclasses.replace(preset_config("r3gan-narrow"), data="digits")
    print(profile_table(config, CYCLES, OPERATIONS))


def random_map(channels: int, size: int, dtype: torch.dtype) -> Tensor:
    """A random map (BATCH, channels, size, size), channels-last."""
    return torch.randn(BATCH, channels, size, size).to(dtype, memory_format=torch.channels_last)


def random_weight(channels: int, dtype: torch.dtype) -> Tensor:
    """Random weights (channels, 16, 3, 3) of a grouped convolution, channels-last."""
    weight = torch.randn(channels, GROUP, 3, 3) / 12
    return weight.to(dtype, memory_format=torch.channels_last).requires_grad_()


def measure(name: str, forms: dict[str, Form], x: Tensor, rounds: int) -> list[str]:
    """Time all forms of one layer; return a row of the table."""
    x = x.detach().requires_grad_()

    def run(form: Form) -> float:
        return time_work(partial(step, form, x), CPU)

    results = list(take_turns(list(forms.values()), WARM_UP + rounds, run, label=name))[WARM_UP:]
    medians = (statistics.median(seconds) for seconds in zip(*results, strict=True))
    precision = "bf16" if x.dtype == torch.bfloat16 else "fp32"
    return [name, precision, *(f"{seconds * 1e3:.1f}" for seconds in medians)]


def step(form: Form, x: Tensor) -> None:
    """Run forward and backward of one form."""
    y = form(x)
    y.backward(y.detach())


def profile_table(config: TrainConfig, cycles: int, count: int) -> str:
    """Share of the time of steps that each operation of torch takes itself, the largest `count` of them.

    Args:
        config: of the training, on a CPU.
        cycles: cycles of updates with and without penalties.
    """
    trainer = Trainer(config, resolve_runtime("cpu", config.precision), load_training_images(config))
    steps = cycles * config.penalty_cycle()
    trainer.train_step()
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        for _ in range(steps):
            trainer.train_step()
    operations = sorted(profiled.key_averages(), key=lambda each: each.self_cpu_time_total, reverse=True)
    total = sum(each.self_cpu_time_total for each in operations)
    rows = [
        [f"`{each.key}`", f"{each.self_cpu_time_total / total:.1%}", f"{each.count / steps:.0f}"]
        for each in operations[:count]
    ]
    header = [f"operation, {steps} steps of {total / steps / 1e3:.0f} ms", "share of the time", "calls in a step"]
    return markdown_table(header, rows, align_right=True)


if __name__ == "__main__":
    main()
