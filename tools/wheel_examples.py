"""Install a wheel in a new environment and run the examples that `--help` of each command shows, in an empty folder.

    python tools/wheel_examples.py dist/msn_gan-0.1.0-py3-none-any.whl --packages present

The examples run with small networks, few steps and small images under the names that they use: `ADDED` and `REPLACED`
list what differs from the text. Comparisons and classifications are planned by `--dry-run`, not trained.
"""

from __future__ import annotations

import argparse
import re
import shlex
import shutil
import tempfile
import time
from pathlib import Path

from fresh_environment import PACKAGES, ROOT, create_environment, pip_install, run

_SMALL = "--steps 4 --batch 8 --g-width 4 --d-width 4 --latent-dim 8 --report-every 0 --checkpoint-every 4"
ADDED = {
    "train": _SMALL,
    "report": "--features digits --num 20",
    "compare": "--dry-run --steps 20 --batch 8 --g-width 4 --d-width 4 --latent-dim 8",
    "data stats": "--features digits --overwrite",
    "classify": "--test-data test.zip --batch 8 --dry-run",
    "bench": "--seconds 1 --batch 2 --device cpu",
}
"""Flags after each example of a command; the last of a repeated flag counts. All settings of --tune divide 20 steps."""
REPLACED = {"cifar10": "train.zip", "10000": "20", "16": "2", "densenet-bc": "cnn3", "inception": "digits"}
"""Words: data that would be downloaded, and what takes long."""
LEFT_OUT = {"msn-gan report checkpoints/cifar --as 50k-train,5k-10k-test": "needs the 60,000 images of CIFAR-10"}
_FIRST = (
    f"train quickstart --preset quickstart {_SMALL} --sample-every 2",
    f"train cats --preset quickstart --channels 3 --data cats.zip {_SMALL}",
    f"train cifar --preset quickstart --data train.zip --conditional --channels 3 {_SMALL}",
    "sample checkpoints/cats --num 20 --out cats-10k.zip",
    "data stats cats.zip --out cats-32.npz --features digits --resolution 32",
    "export checkpoints/cats --out exports/cats.onnx",
    "export checkpoints/cats --int8 --features digits --out exports/cats-int8.onnx",
)
"""Commands that make the files which examples of others name."""
_IMAGES = """
import sys, zipfile
from pathlib import Path
import numpy as np
from PIL import Image

rng = np.random.default_rng(0)
for name in ("photos", "other-cats", "cats", "train", "test"):
    for number in range(40):
        path = Path(name, "ab"[number % 2], f"{number}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)
for name in ("cats", "train", "test"):
    with zipfile.ZipFile(f"{name}.zip", "w") as file:
        for path in sorted(Path(name).rglob("*.png")):
            if name == "train":  # with both splits, as CIFAR-10 has
                file.write(path, Path("test", path.relative_to(name)))
                file.write(path, path)
            else:
                file.write(path, path.relative_to(name))
"""


def main() -> None:
    """Check one wheel and print the number of examples and seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--packages", choices=PACKAGES, default="install", help="where the dependencies come from")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        count = check(options.wheel.resolve(), Path(folder, "examples"), options.packages)
    print(f"{count} examples ran, {time.monotonic() - began:.0f} s")


def check(wheel: Path, folder: Path, packages: str, root: Path = ROOT) -> int:
    """Install the wheel, and run all examples; return their number. A failed one ends the program.

    Args:
        folder: new; the environment and the files of the examples are in it.
        root: the clone of the wheel.
    """
    python = create_environment(folder / "environment", packages)
    pip_install(python, f"{wheel}[onnx]", packages=packages, root=root)
    program = (python, "-m", "gan")
    where = Path(run(python, "-c", "import gan; print(gan.__file__)", folder=folder).strip())
    if folder.resolve() not in where.resolve().parents:
        raise SystemExit(f"{where}: is not the installed wheel")
    examples = [line for words in commands(python, folder) for line in examples_of(run(*program, *words, "--help"))]
    if missing := set(LEFT_OUT) - set(examples):
        raise SystemExit(f"LEFT_OUT: not an example of --help: {', '.join(missing)}")
    examples = [line for line in examples if line not in LEFT_OUT]
    others = folder / "others"
    own = {name: folder / name for name in ("compare", "train")}  # runs of the names that the commands of _FIRST use
    for part in (others, *own.values()):
        part.mkdir()
        run(python, "-c", _IMAGES, folder=part)
    shutil.copy(root / "examples" / "my_norm.py", others)
    for line in _FIRST:
        run(*program, *line.split(), folder=others)
    for line in examples:
        words = adapted(line)
        run(*program, *words, folder=own.get(words[0], others))
    return len(examples)


def commands(python: Path, folder: Path) -> list[list[str]]:
    """The words of every command of the installed program."""
    code = """
import click
from gan.cli import main
def walk(group, words=()):
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            walk(command, (*words, name))
        else:
            print(*words, name)
walk(main)
"""
    return [line.split() for line in run(python, "-c", code, folder=folder).splitlines()]


def examples_of(text: str) -> list[str]:
    """The example lines in the output of `--help`: the paragraph that begins with `Example:` or `Examples:`."""
    found = re.search(r"^ *Examples?: (.*?)\n *$", text, re.M | re.S)
    return [line.strip() for line in found[1].splitlines()] if found else []


def adapted(line: str) -> list[str]:
    """The words of an example after `msn-gan`, with those of `REPLACED` and `ADDED`."""
    program, *words = shlex.split(line)
    if program != "msn-gan":
        raise SystemExit(f"{line}: does not begin with msn-gan")
    words = [REPLACED.get(word, word) for word in words]
    if (words[0] == "bench" and "--onnx" in words) or words[:2] == ["classify", "digits"]:
        return [*words, *(["--dry-run"] if words[0] == "classify" else [])]
    added = ADDED.get(" ".join(words[:2]), ADDED.get(words[0], ""))
    return [*words, *added.split()]


if __name__ == "__main__":
    main()
