"""Time how long the program takes to start, as a fraction of `import torch`.

    python benchmarks/startup.py --rounds 7

Times, in turn and in processes of their own: `import torch`, `--help` of the program and of every command, `--version`,
an unknown flag, the script of bash's completion and one completion, and `data info` of a folder of 100 images. Prints
the median time of each, and the median and quartiles of its ratio to `import torch` within a round.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

import click
import numpy as np
from PIL import Image

from gan.bench.report import Spread
from gan.bench.turns import take_turns
from gan.cli import main as program
from gan.utils.markdown_table import markdown_table

_ROOT = Path(__file__).parent.parent
_RUN = "from gan.__main__ import run; run()"
_PROGRAM = ("-c", f"import sys; sys.argv[0] = 'msn-gan'; {_RUN}")  # the name decides the variable of the completion
_COMPLETED = {"_MSN_GAN_COMPLETE": "bash_complete", "COMP_WORDS": "msn-gan train --no", "COMP_CWORD": "2"}


class Case(NamedTuple):
    """A process to time."""

    name: str
    arguments: tuple[str, ...]
    """Arguments of the Python interpreter."""
    environment: dict[str, str] = {}
    code: int = 0
    """The exit code that it must have."""


def commands(group: click.Group = program, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the words of a group and of all commands in it: (), ("train",), ("data", "info"), ..."""
    yield words
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*words, name))
        else:
            yield (*words, name)


def cases(images: Path) -> list[Case]:
    """List the processes, `import torch` first."""
    return [
        Case("import torch", ("-c", "import torch")),
        *(Case(" ".join((*words, "--help")), (*_PROGRAM, *words, "--help")) for words in commands()),
        Case("--version", (*_PROGRAM, "--version")),
        Case("train --unknown", (*_PROGRAM, "train", "--unknown"), code=2),
        Case("script of bash's completion", _PROGRAM, {"_MSN_GAN_COMPLETE": "bash_source"}),
        Case("completion of train --no", _PROGRAM, _COMPLETED),
        Case("data info of 100 images", (*_PROGRAM, "data", "info", str(images))),
    ]


def seconds(case: Case) -> float:
    """Time a process, and check its exit code."""
    path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path, **case.environment}
    began = time.perf_counter()
    done = subprocess.run([sys.executable, *case.arguments], capture_output=True, text=True, env=environment)
    took = time.perf_counter() - began
    if done.returncode != case.code:
        sys.exit(f"{case.name}: exit code {done.returncode}: {done.stderr}")
    return took


def main() -> None:
    """Time all processes in turn and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        rng = np.random.default_rng(0)
        for number in range(100):
            pixels = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(Path(folder, f"{number}.png"))
        timed = cases(Path(folder))
        for case in timed:
            seconds(case)  # an untimed run reads the files from the disk and compiles them
        columns = list(zip(*take_turns(timed, rounds, seconds, label="starting"), strict=True))
    rows = []
    for case, times in zip(timed, columns, strict=True):
        ratio = Spread.of_ratios(times, columns[0])
        spread = f"{ratio.median:.3f} ({ratio.low:.3f} to {ratio.high:.3f})"
        rows.append((case.name, f"{median(times):.3f}", spread))
    print(markdown_table(("process", "seconds", "ratio to import torch"), rows, pad=True))


if __name__ == "__main__":
    main()
