"""Compare image quality after equal training times: the textbook's recipe and configurations of this program.

    python benchmarks/equal_seconds.py --seconds 300 1800 --data cifar10-train.zip --features classifier:vgg7.pt \
        "--preset msn-dcgan" "--preset msn-dcgan --g-width 32 --d-width 32 --flip"

Each argument holds flags of `msn-gan train`. Programs take turns of `--turn` seconds, every other round in reverse
order, so that changes in the machine's speed affect all of them. Building, sampling and scoring are not timed. At each
of the `--seconds`, the EMA generators are scored. Prints a table with each FID, also relative to the textbook's.
"""

from __future__ import annotations

import argparse
import math
import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from click.core import ParameterSource
from textbook import Textbook, ZipImages
from torch import Tensor, nn

from gan.bench.turns import take_turns
from gan.cli.train import train as command
from gan.config.presets import preset_config
from gan.config.train_config import TrainConfig
from gan.data.image_set import ImageSet
from gan.data.loading import load_images
from gan.errors import Diverged, UsageError, UserError
from gan.evaluation.image_streams import generator_stream, image_set_stream
from gan.metrics.extractor import Extractor, ExtractorOptions
from gan.metrics.extractors import create_extractor
from gan.metrics.score import measure_reference, score
from gan.runtime import Runtime, resolve_runtime
from gan.sampling import generate
from gan.sampling.grids import save_grid
from gan.training.trainer import Trainer
from gan.utils.environment import hardware_info, package_versions
from gan.utils.files import write_json
from gan.utils.markdown_table import markdown_table
from gan.utils.progress import say


@dataclass
class Program:
    """A training, its progress and its scores."""

    name: str
    config: TrainConfig
    step: Callable[[], object]
    generator: nn.Module  # EMA
    classes: int
    statistics: Callable[[], dict[str, Any]]  # logged beside the scores
    seconds: float = 0.0
    steps: int = 0
    diverged: bool = False
    scores: list[dict[str, Any]] = field(default_factory=list)

    def turn(self, seconds: float, total: float) -> None:
        """Train for some seconds, and in all for at most `total`, until the step that exceeds either has ended."""
        start, before = time.perf_counter(), self.seconds
        while not self.diverged and self.seconds < min(before + seconds, total):
            try:
                self.step()
            except Diverged as error:
                say(f"{self.name}: {error}")
                self.diverged = True
            self.steps += 1
            self.seconds = before + time.perf_counter() - start
        if torch.cuda.is_available():  # pending work on the device counts too
            torch.cuda.synchronize()
            self.seconds = before + time.perf_counter() - start


class Unlabelled(nn.Module):
    """An unconditional generator that accepts labels=None."""

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, z: Tensor, labels: None = None) -> Tensor:
        return self.generator(z)


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark with these command-line arguments."""
    flags = parse(arguments)
    try:
        results = compare(flags)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    print(table(results))
    if flags.json:
        write_json(flags.json, results)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", nargs="*", help="flags of `msn-gan train`, one argument for each training")
    parser.add_argument("--data", type=Path, required=True, help="zip of 32x32 images")
    parser.add_argument("--features", required=True, help="feature extractor, as in `msn-gan report`")
    parser.add_argument("--seconds", type=float, nargs="+", default=[300.0], help="training times at which to score")
    parser.add_argument("--turn", type=float, default=15.0, help="seconds of a turn")
    parser.add_argument("--num", type=int, default=10_000, help="images to score")
    parser.add_argument(
        "--textbook", default="--preset msn-dcgan", help="the textbook's flags of `msn-gan train`; '' for none"
    )
    parser.add_argument("--workers", type=int, default=2, help="loader processes of the textbook")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto", help="of this program; the textbook uses fp32")
    parser.add_argument("--grids", type=Path, help="folder for a final grid of each program")
    parser.add_argument("--json", type=Path, help="write the results to a file too")
    flags = parser.parse_args(arguments)
    flags.seconds = sorted(flags.seconds)
    if not flags.configs and not flags.textbook:
        parser.error("--textbook '': give the flags of at least one training")
    return flags


def config_of(text: str, data: Path) -> TrainConfig:
    """Return the config that flags of `msn-gan train` select.

    Raises:
        UsageError: invalid values, or flags that are not of a preset or config, or that the benchmark sets itself;
            click raises its own error for unknown flags.
    """
    context = command.make_context("train", shlex.split(text))
    allowed = {"preset", *TrainConfig.__dataclass_fields__} - {"data", "channels", "precision"}
    given = [name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    if others := [item.opts[0] for item in context.command.params if item.name in given and item.name not in allowed]:
        raise UsageError(f"{text}: {', '.join(others)}: is set by the benchmark, or not supported; leave it out")
    overrides = {name: value for name, value in context.params.items() if name in given}
    base = preset_config(overrides.pop("preset", "quickstart"))
    return base.replace({**overrides, "data": str(data), "channels": 3})


def compare(flags: argparse.Namespace) -> dict[str, Any]:
    """Train all programs in turn and score them at each time.

    Raises:
        UserError: the images, a config or the feature extractor cannot be used.
    """
    runtime = resolve_runtime(flags.device, flags.precision)
    data = load_images(str(flags.data), resolution=32, channels=3)
    extractor = create_extractor(ExtractorOptions(flags.features, device=str(runtime.device)), str(flags.data))
    programs = [ours(text, data, runtime, flags) for text in flags.configs]
    if flags.textbook:
        programs.insert(0, textbook(runtime.device, flags))
    for total in flags.seconds:
        left = max((total - program.seconds for program in programs if not program.diverged), default=0.0)
        rounds = max(0, math.ceil(left / flags.turn))
        turn = partial(Program.turn, seconds=flags.turn, total=total)
        for _ in take_turns(programs, rounds, turn, label=f"training to {total:g} s"):
            pass
        for program in programs:
            program.scores.append(scored(program, data, extractor, flags.num))
    if flags.grids:
        flags.grids.mkdir(parents=True, exist_ok=True)
        for number, program in enumerate(programs):
            if program.diverged:
                continue
            latents = generate.latents(0, range(64), program.config.latent_dim)
            images = generate.render(program.generator, latents, generate.labels_in_turn(range(64), program.classes))
            save_grid(flags.grids / f"{number}.png", images, 8)
    return {
        "command": " ".join(["python benchmarks/equal_seconds.py", *map(shlex.quote, sys.argv[1:])]),
        **hardware_info(runtime.device),
        **package_versions("torch", "torchvision", "pillow"),
        "precision": runtime.precision,
        "features": flags.features,
        "num": flags.num,
        "programs": [
            {"name": program.name, "diverged": program.diverged, "scores": program.scores} for program in programs
        ],
    }


def textbook(device: torch.device, flags: argparse.Namespace) -> Program:
    """Build the textbook with its own loader."""
    config = config_of(flags.textbook, flags.data)
    torch.manual_seed(config.seed)
    trainer = Textbook(config, device, ZipImages(flags.data), workers=flags.workers)
    return Program(f"textbook {flags.textbook}", config, trainer.train_step, Unlabelled(trainer.average), 0, dict)


def ours(text: str, data: ImageSet, runtime: Runtime, flags: argparse.Namespace) -> Program:
    """Build this program's trainer, as `msn-gan train` does."""
    config = config_of(text, flags.data).replace({"precision": runtime.precision})
    trainer = Trainer(config, runtime, data)

    def statistics() -> dict[str, Any]:
        entry = trainer.log_entry()
        return {name: entry[name] for name in ("d_accuracy", "variety", "health")}

    return Program(text, config, trainer.train_step, trainer.ema.network, trainer.classes, statistics)


def scored(program: Program, data: ImageSet, extractor: Extractor, num: int) -> dict[str, Any]:
    """Return the progress of a program and the scores of its images."""
    if program.scores and program.scores[-1]["steps"] == program.steps:
        return program.scores[-1]
    config = program.config
    images = config.batch * config.n_dis * program.steps
    progress: dict[str, Any] = {"seconds": program.seconds, "steps": program.steps, "images": images}
    if program.diverged:
        return {**progress, "fid": None}
    reference = measure_reference(image_set_stream(data, data.name, "train"), extractor)
    stream = generator_stream(
        program.generator, num, 0, name=program.name, latent_dim=config.latent_dim, classes=program.classes
    )
    try:
        result = score(stream, reference, extractor, ("fid", "is"), ema=True)
    except Diverged:  # in its last step
        program.diverged = True
        return {**progress, "fid": None}
    say(f"{program.name}: {program.steps} steps in {program.seconds:.0f} s: FID {result['fid']:.2f}")
    return {**progress, "fid": result["fid"], "is": result["inception_score"], **program.statistics()}


def table(results: dict[str, Any]) -> str:
    """Format the results as Markdown."""
    names = [name for name in ("cpu", "gpu", "threads", "python", "torch") if name in results]
    first = results["programs"][0]["scores"]
    rows = []
    for program in results["programs"]:
        for scores, base in zip(program["scores"], first, strict=True):
            row = [f"`{program['name']}`", f"{scores['seconds']:.0f}", scores["steps"]]
            row.append(f"{scores['images'] / scores['seconds']:.1f}")
            if scores["fid"] is None:
                row += ["diverged", "", ""]
            else:
                share = f"{scores['fid'] / base['fid']:.3f}" if base["fid"] else ""
                row += [f"{scores['fid']:.2f}", share, f"{scores['is']:.2f}"]
            rows.append(row)
    header = ["config", "seconds", "steps", "images/s", "FID", "of the first's", "IS"]
    return "\n".join(
        [
            ", ".join(f"{name} {results[name]}" for name in names) + f"; ours in {results['precision']}",
            f"{results['num']:,} images, {results['features'].partition(':')[0]} features",
            "",
            markdown_table(header, rows, align_right=True),
        ]
    )


if __name__ == "__main__":
    main()
