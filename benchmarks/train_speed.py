"""Compare the training speed of this program and the textbook (benchmarks/textbook.py) on real images.

    python benchmarks/train_speed.py --data cifar10-train.zip --preset msn-dcgan sngan-resnet --json speed.json

Both programs take turns under every norm, every other round in reverse order, so that changes in the machine's speed
affect all of them. A turn is one untimed step and `--steps` timed ones, without logging. Images/s are real images shown
to D. A ratio is taken within a round; tables have medians and (quartiles). Use hundreds of steps on a GPU: in a short
turn the textbook uses batches that its workers loaded before.

Model FLOP are the convolutions and matrix products of a program's networks, each counted once: our ResNets merge
convolutions with the upsampling or mean beside them, and so have fewer. They are compared with the machine's rate of a
large matrix product in the same precision. On CUDA both programs use TF32 for fp32 and cuDNN's autotuner.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import model_flop, our_networks, product_rate
from textbook import Textbook, ZipImages
from textbook import build as textbook_networks
from textbook_networks import NORMS

from gan.bench.report import Spread
from gan.bench.turns import take_turns
from gan.config.choices import PRECISIONS
from gan.config.presets import preset_config
from gan.config.train_config import TrainConfig
from gan.data.image_set import ImageSet
from gan.data.loading import load_images
from gan.errors import UserError
from gan.runtime import Runtime, resolve_runtime
from gan.training.trainer import Trainer
from gan.utils.environment import hardware_info, package_versions, synchronize, time_work
from gan.utils.files import write_json
from gan.utils.markdown_table import markdown_table
from gan.utils.progress import say

PRESETS = ("msn-dcgan", "sngan-resnet")
# Ratios (numerator, denominator) of step times.
NORM_PAIRS = (("sn", "none"), ("msn", "sn"), ("msn", "bn"), ("mean", "none"))


@dataclass
class Runner:
    """A program under one norm, and its measurements."""

    preset: str
    norm: str
    program: str  # textbook or ours
    images: int  # real images shown to D in a step
    runtime: Runtime
    step: Callable[[], object]
    end_turn: Callable[[], object]  # not timed
    rates: list[float] = field(default_factory=list)  # images/s of each round
    memory: int | None = None  # peak bytes on the GPU

    def turn(self, steps: int) -> None:
        """Time some steps, after an untimed one."""
        self.step()
        seconds = time_work(lambda: [self.step() for _ in range(steps)], self.runtime.device)
        self.rates.append(steps * self.images / seconds)
        self.end_turn()
        say(f"{self.preset} {self.norm} {self.program}: {self.rates[-1]:.1f} images/s")


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark with these command-line arguments."""
    flags = parse(arguments)
    try:
        results = compare(flags)
        print(table(results))
        if flags.json:
            write_json(flags.json, results)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="zip of 32x32 images")
    parser.add_argument("--preset", nargs="+", default=["msn-dcgan"], choices=PRESETS)
    parser.add_argument("--norms", default="none,sn,msn", help=f"norms to time, of {','.join(NORMS)}")
    parser.add_argument("--batch", type=int, default=64, help="real images in an update")
    parser.add_argument("--steps", type=int, default=10, help="timed steps in a turn")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each program under each norm")
    parser.add_argument("--warmup", type=int, default=3, help="steps of each program before timing starts")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument(
        "--precision", default="auto", choices=PRECISIONS, help="of this program; the textbook uses fp32"
    )
    parser.add_argument("--workers", type=int, default=2, help="loader processes of the textbook")
    parser.add_argument(
        "--unfrozen", action="store_true", help="do not freeze D in the textbook's G update, as in torch's tutorial"
    )
    parser.add_argument("--skip-textbook", action="store_true", help="time this program alone, to compare norms")
    parser.add_argument("--json", type=Path, help="write the results to a file too")
    flags = parser.parse_args(arguments)
    flags.norms = list(dict.fromkeys(flags.norms.split(",")))
    flags.preset = list(dict.fromkeys(flags.preset))
    for norm in flags.norms:
        if norm not in NORMS:
            parser.error(f"--norms {norm}: choose from {','.join(NORMS)}")
    for name, low in (("batch", 1), ("steps", 1), ("rounds", 1), ("warmup", 1), ("workers", 0)):
        if getattr(flags, name) < low:
            parser.error(f"--{name} {getattr(flags, name)}: must be at least {low}")
    if flags.json and not flags.json.absolute().parent.is_dir():
        parser.error(f"--json {flags.json}: there is no folder {flags.json.absolute().parent}")
    return flags


def compare(flags: argparse.Namespace) -> dict[str, Any]:
    """Measure all presets.

    Raises:
        UserError: the device or the images are not available, or the batch is too large.
    """
    runtime = resolve_runtime(flags.device, flags.precision)
    images = ZipImages(flags.data)
    data = load_images(str(flags.data), resolution=32, channels=3)
    products = {"fp32": 0.0, "bf16": 0.0}
    results: list[dict[str, Any]] = []
    norm_ratios: list[dict[str, Any]] = []
    measure_products(products, runtime.device)  # also allocates the libraries' workspaces, which are not counted
    for name in flags.preset:
        base = preset_config(name).replace(
            {"data": str(flags.data), "batch": flags.batch, "precision": runtime.precision}
        )
        runners = []
        for norm in flags.norms:
            config = base.replace({"norm": norm})
            if not flags.skip_textbook:
                runners.append(built(partial(textbook, config, images, flags), runtime.device, flags.warmup))
            runners.append(built(partial(ours, config, data, runtime), runtime.device, flags.warmup))
        for _ in take_turns(runners, flags.rounds, lambda runner: runner.turn(flags.steps), label=name):
            measure_products(products, runtime.device)
        results += [summary(base, norm, runners) for norm in flags.norms]
        norm_ratios += ratios_of_norms(name, runners)
        del runners  # frees memory for the next preset
        gc.collect()
    for result in results:
        for program in result["programs"].values():
            program["share_of_product_rate"] = program["model_flop_per_second"] / products[program["precision"]]
    return {
        "command": shlex.join(["python", "benchmarks/train_speed.py", *sys.argv[1:]]),
        "hardware": hardware_info(runtime.device),
        "versions": package_versions("torch", "torchvision", "pillow"),
        "settings": {key: str(value) if isinstance(value, Path) else value for key, value in vars(flags).items()},
        "product_flop_per_second": products,
        "results": results,
        "step_time_of_norms": norm_ratios,
    }


def measure_products(products: dict[str, float], device: torch.device) -> None:
    """Update the best rate of matrix products, FLOP/s, in each precision."""
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        products[precision] = max(products[precision], product_rate(device, dtype))


def textbook(config: TrainConfig, images: ZipImages, flags: argparse.Namespace) -> Runner:
    """Build the textbook with its own loader."""
    runtime = Runtime(torch.device(flags.device), bf16=False)
    torch.manual_seed(config.seed)
    config = dataclasses.replace(config, precision="fp32")
    trainer = Textbook(config, runtime.device, images, workers=flags.workers, frozen=not flags.unfrozen)
    return Runner(
        config.preset, config.norm, "textbook", config.batch * config.n_dis, runtime, trainer.train_step, lambda: None
    )


def ours(config: TrainConfig, data: ImageSet, runtime: Runtime) -> Runner:
    """Build this program's trainer, as `msn-gan train` does."""
    trainer = Trainer(config, runtime, data)
    return Runner(
        config.preset, config.norm, "ours", config.batch * config.n_dis, runtime, trainer.train_step, trainer.log_entry
    )


def built(build: Callable[[], Runner], device: torch.device, warmup: int) -> Runner:
    """Build and warm up a program; on CUDA, measure its peak memory, images included."""
    cuda = device.type == "cuda"
    before = torch.cuda.memory_allocated() if cuda else 0
    runner = build()
    runner.step()  # cuDNN tries algorithms here, which need much memory
    synchronize(device)
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    for _ in range(warmup - 1):
        runner.step()
    runner.end_turn()
    synchronize(device)
    if cuda:
        runner.memory = torch.cuda.max_memory_allocated() - before
    return runner


def summary(config: TrainConfig, norm: str, runners: list[Runner]) -> dict[str, Any]:
    """Summarize the measurements of one norm."""
    own = {runner.program: runner for runner in runners if runner.norm == norm}
    networks = {"textbook": textbook_networks, "ours": our_networks}
    result: dict[str, Any] = {"preset": config.preset, "norm": norm, "batch": config.batch, "n_dis": config.n_dis}
    result["programs"] = {}
    for program, runner in own.items():
        rate = float(np.median(runner.rates))
        flop = model_flop(config.replace({"norm": norm}), networks[program])
        result["programs"][program] = {
            "precision": runner.runtime.precision,
            "images_per_second": rate,
            "images_per_second_of_rounds": runner.rates,
            "model_flop_per_image": flop,
            "model_flop_per_second": rate * flop,
            "peak_memory_bytes": runner.memory,
        }
    if "textbook" in own:
        result |= ratio_spread(own["ours"].rates, own["textbook"].rates)
    return result


def ratios_of_norms(name: str, runners: list[Runner]) -> list[dict[str, Any]]:
    """Ratios of this program's step times under two norms."""
    rates = {runner.norm: runner.rates for runner in runners if runner.program == "ours"}
    pairs = [(a, b) for a, b in NORM_PAIRS if a in rates and b in rates]
    return [{"preset": name, "norms": f"{a}/{b}", **ratio_spread(rates[b], rates[a])} for a, b in pairs]


def ratio_spread(numerators: list[float], denominators: list[float]) -> dict[str, Any]:
    """Median and quartiles of the ratios within each round."""
    ratios = Spread.of_ratios(numerators, denominators)
    return {"ratio": ratios.median, "ratio_quartiles": [ratios.low, ratios.high]}


def table(results: dict[str, Any]) -> str:
    """Format the results as Markdown."""
    settings, rates = results["settings"], results["product_flop_per_second"]
    rows = []
    for result in results["results"]:
        for name, program in result["programs"].items():
            memory = program["peak_memory_bytes"]
            rows.append(
                [
                    result["preset"],
                    result["norm"],
                    name,
                    program["precision"],
                    f"{program['images_per_second']:.1f}",
                    ratio_text(result) if name == "ours" and "ratio" in result else "",
                    f"{program['model_flop_per_second'] / 1e9:.1f}",
                    f"{program['share_of_product_rate']:.1%}",
                    "" if memory is None else f"{memory / 1e6:.0f} MB",
                ]
            )
    header = ["recipe", "norm", "program", "precision", "images/s", "ours / textbook", "model GFLOP/s"]
    lines = [
        ", ".join(f"{name} {value}" for name, value in (results["hardware"] | results["versions"]).items()),
        f"batch {settings['batch']}, {settings['rounds']} rounds of {settings['steps']} steps; matrix product: "
        + ", ".join(f"{precision} {rate / 1e9:.0f} GFLOP/s" for precision, rate in rates.items()),
        "",
        markdown_table([*header, "of the product rate", "peak memory"], rows),
    ]
    if ratios := results["step_time_of_norms"]:
        rows = [[ratio["preset"], ratio["norms"], ratio_text(ratio, 3)] for ratio in ratios]
        lines += ["", markdown_table(["recipe", "norms", "step time of ours, ratio"], rows)]
    return "\n".join(lines)


def ratio_text(result: dict[str, Any], digits: int = 2) -> str:
    low, high = result["ratio_quartiles"]
    return f"{result['ratio']:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


if __name__ == "__main__":
    main()
