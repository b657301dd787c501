"""Image quality for equal seconds: the textbook's recipe and any settings of ours, trained in turn, then scored.

    python benchmarks/equal_seconds.py --data cifar10-train.zip --features classifier:vgg7.pt --seconds 300 1800 \
        "--preset msn-dcgan" "--preset msn-dcgan --g-width 32 --d-width 32 --flip"

Each argument holds flags of `msn-gan train`. In each round every program trains for `--turn` seconds, so that what else
the machine does strikes all of them; what is not training (building, sampling, scoring) is not counted. At each of the
`--seconds`, the averaged generators are scored. Prints a table, and each FID as a share of the textbook's.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from textbook import Textbook, ZipImages
from torch import Tensor, nn

from gan.cli.train import train as command
from gan.config.presets import preset_config
from gan.config.train_config import TrainConfig
from gan.data import ImageSet, load_images
from gan.errors import Diverged, UserError
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
from gan.utils.progress import say


@dataclass
class Program:
    """One way to train, and how far it has come."""

    name: str
    config: TrainConfig
    step: Callable[[], object]
    generator: nn.Module  # averaged
    classes: int
    tell: Callable[[], dict[str, Any]]
    seconds: float = 0.0
    steps: int = 0
    diverged: bool = False
    scores: list[dict[str, Any]] = field(default_factory=list)

    def turn(self, seconds: float, total: float) -> None:
        """Train for some seconds, and in all for at most `total`; whole steps, the last of which may end later."""
        began, before = time.perf_counter(), self.seconds
        while not self.diverged and self.seconds < min(before + seconds, total):
            try:
                self.step()
            except Diverged as error:
                say(f"{self.name}: {error}")
                self.diverged = True
            self.steps += 1
            self.seconds = before + time.perf_counter() - began
        if torch.cuda.is_available():  # what the device still has to do is this program's time
            torch.cuda.synchronize()
            self.seconds = before + time.perf_counter() - began


class Unlabelled(nn.Module):
    """A generator of latents alone, called with labels that are None."""

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, z: Tensor, labels: None = None) -> Tensor:
        return self.generator(z)


def main(arguments: list[str] | None = None) -> None:
    """Parse the flags, train, score, print the table."""
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
    """The flags of this script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", nargs="*", help="flags of `msn-gan train`, one argument for each training")
    parser.add_argument("--data", type=Path, required=True, help="a zip of 32-pixel images")
    parser.add_argument("--features", required=True, help="what FID looks at images with, as in `msn-gan report`")
    parser.add_argument("--seconds", type=float, nargs="+", default=[300.0], help="of training, before each score")
    parser.add_argument("--turn", type=float, default=15.0, help="seconds of one program before the next has its turn")
    parser.add_argument("--num", type=int, default=10_000, help="images of a score")
    parser.add_argument("--textbook", default="--preset msn-dcgan", help="its flags of `msn-gan train`; '' for none")
    parser.add_argument("--workers", type=int, default=2, help="processes that load the textbook's images")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto", help="of ours; the textbook is fp32")
    parser.add_argument("--grids", type=Path, help="folder for a grid of each program at the end")
    parser.add_argument("--json", type=Path, help="file for the results")
    flags = parser.parse_args(arguments)
    flags.seconds = sorted(flags.seconds)
    return flags


def config_of(text: str, data: Path) -> TrainConfig:
    """The settings that flags of `msn-gan train` come to.

    Raises:
        UsageError: settings that there are not, or not together; click's own error for flags that there are not.
    """
    given = command.make_context("train", shlex.split(text)).params
    known = {
        name: value for name, value in given.items() if name in TrainConfig.__dataclass_fields__ and value is not None
    }
    base = preset_config(known.pop("preset", "quickstart"))
    return base.replace({**known, "data": str(data), "channels": 3})


def compare(flags: argparse.Namespace) -> dict[str, Any]:
    """Train all programs in turn and score them at each time.

    Raises:
        UserError: images, settings or the network of the scores cannot be used.
    """
    runtime = resolve_runtime(flags.device, flags.precision)
    data = load_images(str(flags.data), resolution=32, channels=3)
    extractor = create_extractor(ExtractorOptions(flags.features, device=str(runtime.device)), str(flags.data))
    programs = [ours(text, data, runtime, flags) for text in flags.settings]
    if flags.textbook:
        programs.insert(0, textbook(runtime.device, flags))
    for total in flags.seconds:
        while any(program.seconds < total and not program.diverged for program in programs):
            for program in programs:
                program.turn(flags.turn, total)
        for program in programs:
            program.scores.append(scored(program, data, extractor, flags.num))
    if flags.grids:
        flags.grids.mkdir(parents=True, exist_ok=True)
        for number, program in enumerate(programs):
            if program.diverged:  # it has no images
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
    """The textbook, with a loader of its own."""
    config = config_of(flags.textbook, flags.data)
    torch.manual_seed(config.seed)
    job = Textbook(config, device, ZipImages(flags.data), workers=flags.workers)
    return Program(f"textbook {flags.textbook}", config, job.train_step, Unlabelled(job.average), 0, lambda: {})


def ours(text: str, data: ImageSet, runtime: Runtime, flags: argparse.Namespace) -> Program:
    """Our trainer, as `msn-gan train` builds it."""
    config = config_of(text, flags.data).replace({"precision": runtime.precision})
    job = Trainer(config, runtime, data)

    def tell() -> dict[str, Any]:
        entry = job.log_entry()
        return {name: entry[name] for name in ("d_accuracy", "variety", "health")}

    return Program(text, config, job.train_step, job.ema.network, job.classes, tell)


def scored(program: Program, data: ImageSet, extractor: Extractor, num: int) -> dict[str, Any]:
    """How far a program has come, and how good its images are."""
    if program.scores and program.scores[-1]["steps"] == program.steps:
        return program.scores[-1]
    config = program.config
    images = config.batch * config.n_dis * program.steps
    found: dict[str, Any] = {"seconds": program.seconds, "steps": program.steps, "images": images}
    if program.diverged:
        return {**found, "fid": None}
    reference = measure_reference(image_set_stream(data, "train"), extractor)
    stream = generator_stream(
        program.generator, num, 0, name=program.name, latent_dim=config.latent_dim, classes=program.classes
    )
    try:
        result = score(stream, reference, extractor, ("fid", "is"), ema=True)
    except Diverged:  # its last update was one too many
        program.diverged = True
        return {**found, "fid": None}
    say(f"{program.name}: {program.steps} steps in {program.seconds:.0f} s: FID {result['fid']:.2f}")
    return {**found, "fid": result["fid"], "is": result["inception_score"], **program.tell()}


def table(results: dict[str, Any]) -> str:
    """For people."""
    names = [name for name in ("cpu", "gpu", "threads", "python", "torch") if name in results]
    lines = [
        ", ".join(f"{name} {results[name]}" for name in names) + f"; ours in {results['precision']}",
        f"{results['num']:,} images, {results['features'].partition(':')[0]} features",
        "",
        "| settings | seconds | steps | images/s | FID | of the first's | IS |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    first = results["programs"][0]["scores"]
    for program in results["programs"]:
        for one, base in zip(program["scores"], first, strict=True):
            cells = [f"`{program['name']}`", f"{one['seconds']:.0f}", one["steps"]]
            cells.append(f"{one['images'] / one['seconds']:.1f}")
            if one["fid"] is None:
                cells += ["diverged", "", ""]
            else:
                share = f"{one['fid'] / base['fid']:.3f}" if base["fid"] else ""
                cells += [f"{one['fid']:.2f}", share, f"{one['is']:.2f}"]
            lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
