"""Training steps with freed memory kept (`gan.utils.memory.keep_freed_memory`) over the same steps without.

    python benchmarks/kept_memory.py "--preset msn-dcgan" "--preset sngan-resnet --g-width 32 --d-width 32 --n-dis 1"

Each argument holds flags of `msn-gan train`. What is told to the C library cannot be taken back, so each round starts a
process for either way, in turn. Prints steps/s of both, pages that the system gave in a step, the highest memory, and
the ratio within a round: its median and quartiles. Images are random: only time is measured.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from equal_seconds import config_of

from gan.bench.report import Spread
from gan.data import ImageSet
from gan.runtime import Runtime, bf16_is_fast
from gan.training.trainer import Trainer
from gan.utils import memory

_WARM_UP = 3


def main() -> None:
    """Parse the flags; measure in this process, or start those that do."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", nargs="+", help="flags of `msn-gan train`, one argument for each training")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--way", choices=("kept", "given-back"), help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.way:
        print(json.dumps(measure(flags.settings[0], flags.steps, flags.way)))
        return
    for text in flags.settings:
        print(f"{text}: {compare(text, flags.rounds, flags.steps)}", flush=True)


def measure(text: str, steps: int, way: str) -> dict[str, Any]:
    """Steps of one training, in this process."""
    if way == "kept":
        memory.keep_freed_memory()
    cpu = torch.device("cpu")
    machine = Runtime(cpu, bf16=bf16_is_fast(cpu))
    config = config_of(text, Path("random.zip")).replace({"precision": machine.precision})
    pixels = torch.randint(0, 256, (1024, config.channels, config.resolution, config.resolution), dtype=torch.uint8)
    job = Trainer(config, machine, ImageSet.of(pixels, None, ()))
    times = []
    for step in range(_WARM_UP + steps):
        if step == _WARM_UP:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        began = time.perf_counter()
        job.train_step()
        times.append(time.perf_counter() - began)
    pages = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    return {
        "seconds": median(times[_WARM_UP:]),
        "pages": pages / steps,
        "bytes": memory.peak_memory_bytes(cpu),
    }


def compare(text: str, rounds: int, steps: int) -> str:
    """Both ways in turn, in processes of their own."""
    found: dict[str, list[dict[str, Any]]] = {"kept": [], "given-back": []}
    for turn in range(rounds):
        for way in sorted(found, reverse=bool(turn % 2)):
            command = [sys.executable, __file__, text, "--steps", str(steps), "--way", way]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            found[way].append(json.loads(done.stdout))
    ratios = [b["seconds"] / a["seconds"] for a, b in zip(found["kept"], found["given-back"], strict=True)]
    speeds = Spread.of(ratios)
    ways = (
        f"{way} {1 / median(one['seconds'] for one in each):.2f} steps/s, "
        f"{median(one['pages'] for one in each):,.0f} pages a step, {max(one['bytes'] for one in each) / 1e6:,.0f} MB"
        for way, each in found.items()
    )
    return f"{speeds.median:.2f} times as fast ({speeds.low:.2f} to {speeds.high:.2f}); {'; '.join(ways)}"


if __name__ == "__main__":
    main()
