"""Rules for running the code blocks of the pages: shortening flags, stand-in files, and blocks that are not run.

Every shell command of every page is run in order, with the flags of `SHORT` after its own, unless `NOT_RUN` lists it.
"""

from __future__ import annotations

import re

from tests.documentation.pages import Block
from tests.documentation.shell import Command

# The one way in which commands are shortened: these flags follow those of the page, and the last value of a flag holds.
_NETWORK = "--steps 2 --batch 8 --g-width 4 --d-width 4 --latent-dim 8 --checkpoint-every 2 --sample-every 1"
_SCORES = "--report-every 2 --report-num 30 --precision fp32"
SHORT = {
    "train": f"{_NETWORK} {_SCORES}",
    "compare": f"{_NETWORK} {_SCORES}",
    "classify": "--epochs 1 --seeds 1 --limit 20 --batch 10 --precision fp32",
    "report": "--num 30",
    "bench": "--rounds 1 --batch 2 --no-memory",
    "benchmarks/bf16_quality.py": "--steps 2 --seeds 2 --width 4 --num 30",
    "benchmarks/equal_seconds.py": "--seconds 1 --turn 1 --num 30 --workers 1 --device cpu",
    "benchmarks/kept_memory.py": "--rounds 1 --steps 1",
    "benchmarks/metric_time.py": "--real 1000 --generated 1000 --dimension 16 --network-images 2",
    "benchmarks/startup.py": "--rounds 1",
    "benchmarks/train_speed.py": "--rounds 1 --steps 1 --warmup 1 --batch 4 --workers 1",
}
# As above, but only for commands that have the flag: others refuse it, or do something else with it.
SHORT_IF_GIVEN = {
    "compare": {
        "--tune": "--tune 2 --steps 10 --report-every 10",
        "--then": "1",
        "--jobs": "2",
        "--seeds": "1",
        "--only": "--seeds 2",
    },
    "train": {"--schedule-images": "16", "--dynamics": "1"},
    "classify": {"--dynamics": "1"},
    "sample": {"--num": "9"},
    "bench": {"--onnx": "--runs 10"},
}
# Under torchrun: the flags of torchrun itself, and more flags of the command, whose ranks are processes without
# the stand-ins for downloaded networks.
SHORT_TORCHRUN = "--nproc-per-node 2"
SHORT_OVER_RANKS = {"train": "--device cpu --report-every 0", "sample": "--device cpu", "report": "--features digits"}

# What begins with these words is not run. Its flags are still parsed by the program's own parser (test_commands.py).
NOT_RUN = {
    "make ": "installs packages from the network; `make train` is `msn-gan train --preset quickstart`",
    "python3 -m venv": "has an effect only with the command after it, which downloads",
    "pip install": "installs packages from the network",
    "tensorboard": "a server that runs until it is stopped",
    "torchrun --nnodes 2": "needs two machines; tests/distributed/ runs the same commands over CPU processes",
    "msn-gan report checkpoints/cifar --as": "50,000 images in Inception features: hours on a CPU",
    "msn-gan compare norms --preset sngan-dcgan --data cats.zip --norms sn,msn --seeds 5 --jobs": "the processes of "
    "--jobs would download Inception's weights; tests/experiments/parallel/ runs --jobs",
    "msn-gan compare tuned --preset msn-dcgan": "trains on CIFAR-10 in processes that would download it",
    "msn-gan compare tuned --preset best": "a classifier and three arms take minutes; README.md runs --tune",
    "msn-gan bench --models densenet-bc": "a DenseNet takes minutes on a CPU; tests/bench/ runs smaller networks",
    "msn-gan bench --models best,sngan-resnet": "15 norms of two full ResNets take minutes on a CPU",
    "msn-gan classify resnet18": "two minutes on a CPU, over the digits' 360 test images; README.md runs a resnet18",
    "msn-gan classify densenet-bc": "two minutes on a CPU, as above; tests/models/ runs its layers",
    "msn-gan train cats --norm soft": "tests/test_example_package.py installs the package of the norm, and trains",
    "msn-gan compare cats-norms": "needs the package of the norm, as above",
    "python benchmarks/fid_speed.py": "three programs with Inception, two minutes on a CPU",
    "python benchmarks/r3gan_speed.py": "two minutes of full layers; tests/benchmarks/ runs its parts",
    "python benchmarks/evidence.py": "trains for hours; tests/benchmarks/test_evidence.py runs it with tiny settings",
    "python benchmarks/evidence_figures.py": "draws what the command above trains; tests/benchmarks/ runs it",
    "python benchmarks/dynamics_cost.py": "six full networks, three minutes on a CPU",
    "python benchmarks/running_statistics.py": "needs the DenseNet of a command that is not run",
}

# Indented blocks that are no commands, by their first words.
NO_CODE = {
    "v ← Wᵀu": "an equation",
    "h = W̄ ∗ g": "an equation",
    "value(n) =": "an equation",
}
_MESSAGE = re.compile(r"\S+: ")  # such as `msn-gan: ...` or `cats.zip: ...`: no command begins so

# Commands that use the name of a run which the page has used for another one before: that one is removed.
OTHER_RUN = {
    "msn-gan train soft --norm my_norm.py:soft --config",
}

_VGG7 = [
    "classify vgg --model vgg7 --data cifar10-train.zip --test-data cifar10-test.zip --norms bn --lr 0.1",
    "cp checkpoints/vgg/bn-lr0.1-seed0/classifier.pt vgg7.pt",
]
# What a page takes for granted, made by commands of msn-gan, shortened like the others, and by cp.
BEFORE = {
    "README.md": ["train --preset quickstart"],
    "docs/recipes.md": ["train faces --data theirs"],
    "docs/metrics.md": ["train cats --data cats.zip", "train cifar --data cifar10 --conditional"],
    "docs/embedded.md": [
        "classify features --model vgg7 --data cifar10-train.zip --test-data cifar10-test.zip --norms bn --lr 0.1"
    ],
    "docs/results/presets.md": _VGG7,
}


def reason_not_run(command: Command) -> str | None:
    """Reason why a command is not run; None for commands that are run."""
    return next((reason for words, reason in NOT_RUN.items() if str(command).startswith(words)), None)


def is_code(block: Block) -> bool:
    """True for shell and Python code; False for equations, messages and diagrams."""
    is_text = block.text.startswith(tuple(NO_CODE)) or (block.kind == "sh" and _MESSAGE.match(block.text))
    return block.kind != "mermaid" and not is_text


def shortened(arguments: list[str]) -> list[str]:
    """Arguments of msn-gan or of python, followed by those that make the command short."""
    if "--help" in arguments:
        return arguments
    name = arguments[0]
    found = [*arguments, *SHORT.get(name, "").split()]
    if name == "bench" and "--onnx" in arguments:
        found = list(arguments)
    for flag, value in SHORT_IF_GIVEN.get(name, {}).items():
        if flag in arguments:
            found += value.split() if value.startswith("--") else [flag, value]
    return found


def shortened_torchrun(arguments: list[str]) -> list[str]:
    """Arguments of torchrun, those that make it short, and the shortened command that each rank runs."""
    program = arguments.index("msn_gan.py")
    start = program - 1 if arguments[program - 1] == "--" else program
    command = arguments[program + 1 :]
    own = [*arguments[:start], *SHORT_TORCHRUN.split(), "--", arguments[program]]
    return [*own, *shortened(command), *SHORT_OVER_RANKS[command[0]].split()]
