"""Compare training steps with freed memory kept (`gan.utils.memory.keep_freed_memory`) and returned to the system.

    python benchmarks/kept_memory.py "--preset msn-dcgan" "--preset sngan-resnet --g-width 32 --d-width 32 --n-dis 1"

Each argument holds flags of `msn-gan train`. The C library's setting cannot be undone, so each round starts a process
for each mode, in turn. Prints steps/s of both, page faults per step, peak memory, and the ratio within a round: its
median and quartiles. Images are random.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

import torch
from equal_seconds import config_of

from gan.bench.report import Spread
from gan.bench.turns import take_turns
from gan.data.image_set import ImageSet
from gan.runtime import Runtime, bf16_is_fast
from gan.training.trainer import Trainer
from gan.utils import memory, peak_memory
from gan.utils.environment import time_work

_WARM_UP = 3
_MODES = ("given-back", "kept")


def main() -> None:
    """Run the comparison, or one of its measurements in this process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", nargs="+", help="flags of `msn-gan train`, one argument for each training")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--mode", choices=_MODES, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.mode:
        print(json.dumps(measure(flags.configs[0], flags.steps, flags.mode)))
        return
    for text in flags.configs:
        print(f"{text}: {compare(text, flags.rounds, flags.steps)}", flush=True)


def measure(text: str, steps: int, mode: str) -> dict[str, Any]:
    """Time the steps of a training in this process."""
    if mode == "kept":
        memory.keep_freed_memory()
    cpu = torch.device("cpu")
    runtime = Runtime(cpu, bf16=bf16_is_fast(cpu))
    config = config_of(text, Path("random.zip")).replace({"precision": runtime.precision})
    pixels = torch.randint(0, 256, (1024, config.channels, config.resolution, config.resolution), dtype=torch.uint8)
    trainer = Trainer(config, runtime, ImageSet.of(pixels, None, ()))
    times = []
    for step in range(_WARM_UP + steps):
        if step == _WARM_UP:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        times.append(time_work(trainer.train_step, cpu))
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    return {
        "seconds": median(times[_WARM_UP:]),
        "pages": faults / steps,
        "bytes": peak_memory.peak_memory_bytes(cpu),
    }


def compare(text: str, rounds: int, steps: int) -> str:
    """Measure both modes in turn, in processes of their own."""

    def run(mode: str) -> dict[str, Any]:
        command = [sys.executable, __file__, text, "--steps", str(steps), "--mode", mode]
        return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)

    given_back, kept = zip(*take_turns(_MODES, rounds, run, label=text), strict=True)
    speeds = Spread.of_ratios([one["seconds"] for one in given_back], [one["seconds"] for one in kept])
    modes = (
        f"{mode} {1 / median(one['seconds'] for one in measured):.2f} steps/s, "
        f"{median(one['pages'] for one in measured):,.0f} pages a step, "
        f"{max(one['bytes'] for one in measured) / 1e6:,.0f} MB"
        for mode, measured in (("kept", kept), ("given-back", given_back))
    )
    return f"{speeds.median:.2f} times as fast ({speeds.low:.2f} to {speeds.high:.2f}); {'; '.join(modes)}"


if __name__ == "__main__":
    main()
