"""Time forward and backward of `ada` against DiffAugment on this CPU.

    OMP_NUM_THREADS=1 python benchmarks/augmentation_speed.py

Prints milliseconds for RGB batches, medians over rounds in which both take turns.
"""

from __future__ import annotations

import statistics
from functools import partial

import torch

from gan.bench.turns import take_turns
from gan.nn.diff_augment import AUGMENTATIONS, apply_augmentations, count_uniforms
from gan.utils.environment import time_work
from gan.utils.markdown_table import markdown_table

ROUNDS = 7
WARM_UP = 1  # rounds that are not counted
CPU = torch.device("cpu")
SHAPES = [(16, 32), (64, 32), (64, 256)]  # images and their side
SETS = [("color", "translation", "cutout"), ("ada",)]


def main() -> None:
    """Run the benchmark."""
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}\n")
    header = ["images", "side", *(f"{','.join(names)}, ms" for names in SETS), "ratio"]
    print(markdown_table(header, (measure(count, side) for count, side in SHAPES)))


def measure(count: int, side: int) -> list[object]:
    """Time both for images of one size; return a row of the table."""
    images = torch.rand(count, 3, side, side).requires_grad_()

    def run(names: tuple[str, ...]) -> float:
        return time_work(partial(step, images, names), CPU)

    rounds = take_turns(SETS, WARM_UP + ROUNDS, run, label=f"{count} images of {side}×{side}")
    plain, ada = (statistics.median(times[WARM_UP:]) for times in zip(*rounds, strict=True))
    return [count, side, f"{plain * 1e3:.1f}", f"{ada * 1e3:.1f}", f"{ada / plain:.1f}"]


def step(images: torch.Tensor, names: tuple[str, ...]) -> None:
    """Augment images and compute the gradient."""
    augmentations = [AUGMENTATIONS[name] for name in names]
    uniform = torch.rand(len(images), count_uniforms(augmentations))
    augmented = apply_augmentations(images, uniform, augmentations)
    torch.autograd.grad(augmented, images, augmented.detach())


if __name__ == "__main__":
    main()
