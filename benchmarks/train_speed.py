"""Training speed: ours against the textbook (benchmarks/textbook.py), in turn, in one run, on real images.

    python benchmarks/train_speed.py --data cifar10-train.zip --preset msn-dcgan sngan-resnet --json speed.json

In each round every norm has a turn of the textbook and one of ours, so that what else the machine does strikes all of
them; every other round goes backwards. A turn is a step that is not timed and `--steps` that are; nothing is logged in
it. Images/s are real images that D is shown. A ratio is taken within a round; tables have medians and (quartiles).
On a GPU take hundreds of steps: in a short turn the textbook lives on what its workers have loaded ahead.

Model FLOP are convolutions and matrix products of a program's own two networks, once, whatever it repeats: our ResNets
merge convolutions with the upsampling or the mean beside them, and have fewer than the textbook's. They are held
against the machine's own rate of a large matrix product in the precision of the program. On CUDA both programs run with
the switches that ours sets: TF32 for fp32, and cuDNN's search for the fastest convolution.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
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
from gan.config.presets import preset_config
from gan.config.train_config import TrainConfig
from gan.data import ImageSet, load_images
from gan.errors import UserError
from gan.runtime import PRECISIONS, Runtime, resolve_runtime
from gan.training.trainer import Trainer
from gan.utils.environment import hardware_info, package_versions, time_work
from gan.utils.files import write_json
from gan.utils.progress import say

PRESETS = ("msn-dcgan", "sngan-resnet")
# Whose step time is divided by whose, where both norms are timed.
NORM_PAIRS = (("sn", "none"), ("msn", "sn"), ("msn", "bn"), ("mean", "none"))


@dataclass
class Runner:
    """One program under one norm, and what has been measured of it."""

    norm: str
    program: str  # textbook or ours
    images: int  # real images that D is shown in a step
    runtime: Runtime
    step: Callable[[], object]
    end_turn: Callable[[], object]  # not timed
    rates: list[float] = field(default_factory=list)  # images/s of each round
    memory: int | None = None  # peak bytes on the GPU

    def turn(self, steps: int) -> None:
        """Time some steps, after one that is not timed."""
        self.step()
        seconds = time_work(lambda: [self.step() for _ in range(steps)], self.runtime.device)
        self.rates.append(steps * self.images / seconds)
        self.end_turn()


def main(arguments: list[str] | None = None) -> None:
    """Parse the flags, time the programs, print the tables."""
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
    parser.add_argument("--data", type=Path, required=True, help="a zip of 32x32 images")
    parser.add_argument("--preset", nargs="+", default=["msn-dcgan"], choices=PRESETS)
    parser.add_argument("--norms", default="none,sn,msn", help=f"some of {','.join(NORMS)}")
    parser.add_argument("--batch", type=int, default=64, help="images of each kind in one update")
    parser.add_argument("--steps", type=int, default=10, help="timed steps in a turn")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each program under each norm")
    parser.add_argument("--warmup", type=int, default=3, help="steps of each before anything is timed")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--precision", default="auto", choices=PRECISIONS, help="of ours; the textbook has fp32")
    parser.add_argument("--workers", type=int, default=2, help="processes that load images for the textbook")
    parser.add_argument(
        "--unfrozen", action="store_true", help="the textbook's G update computes D's weight gradients too, for nothing"
    )
    parser.add_argument("--skip-textbook", action="store_true", help="time ours alone, to compare norms")
    parser.add_argument("--json", type=Path, help="write the results to this file too")
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
    """Everything that was measured, preset after preset.

    Raises:
        UserError: the device, the images or the batch cannot be had.
    """
    runtime = resolve_runtime(flags.device, flags.precision)
    images = ZipImages(flags.data)
    data = load_images(str(flags.data), resolution=32, channels=3)
    products = {"fp32": 0.0, "bf16": 0.0}
    results: list[dict[str, Any]] = []
    norm_ratios: list[dict[str, Any]] = []
    measure_products(products, runtime.device)  # and the libraries' workspaces are nobody's memory
    for name in flags.preset:
        settings = preset_config(name).replace(
            {"data": str(flags.data), "batch": flags.batch, "precision": runtime.precision}
        )
        runners = []
        for norm in flags.norms:
            config = settings.replace({"norm": norm})
            if not flags.skip_textbook:
                runners.append(built(partial(textbook, config, images, flags), runtime.device, flags.warmup))
            runners.append(built(partial(ours, config, data, runtime), runtime.device, flags.warmup))
        for number in range(flags.rounds):
            measure_products(products, runtime.device)
            for runner in runners if number % 2 == 0 else runners[::-1]:
                runner.turn(flags.steps)
                say(f"{name} {runner.norm} {runner.program}: {runner.rates[-1]:.1f} images/s")
        results += [summary(settings, norm, runners) for norm in flags.norms]
        norm_ratios += ratios_of_norms(name, runners)
        del runners, runner  # the next preset needs the memory
        gc.collect()
    for result in results:
        for found in result["programs"].values():
            found["share_of_product_rate"] = found["model_flop_per_second"] / products[found["precision"]]
    return {
        "command": " ".join(["python benchmarks/train_speed.py", *sys.argv[1:]]),
        "hardware": hardware_info(runtime.device),
        "versions": package_versions("torch", "torchvision", "pillow"),
        "settings": {key: str(value) if isinstance(value, Path) else value for key, value in vars(flags).items()},
        "product_flop_per_second": products,
        "results": results,
        "step_time_of_norms": norm_ratios,
    }


def measure_products(products: dict[str, float], device: torch.device) -> None:
    """Keep the best rate of matrix products, FLOP/s, in either precision."""
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        products[precision] = max(products[precision], product_rate(device, dtype))


def textbook(config: TrainConfig, images: ZipImages, flags: argparse.Namespace) -> Runner:
    """The textbook with a loader of its own."""
    runtime = Runtime(torch.device(flags.device), bf16=False)
    torch.manual_seed(config.seed)
    config = dataclasses.replace(config, precision="fp32")
    job = Textbook(config, runtime.device, images, workers=flags.workers, frozen=not flags.unfrozen)
    return Runner(config.norm, "textbook", config.batch * config.n_dis, runtime, job.train_step, lambda: None)


def ours(config: TrainConfig, data: ImageSet, runtime: Runtime) -> Runner:
    """Our trainer, as `msn-gan train` builds it."""
    job = Trainer(config, runtime, data)
    return Runner(config.norm, "ours", config.batch * config.n_dis, runtime, job.train_step, job.log_entry)


def built(build: Callable[[], Runner], device: torch.device, warmup: int) -> Runner:
    """A program made and warmed up, and on CUDA its peak memory: above what the others hold, images included."""
    cuda = device.type == "cuda"
    before = torch.cuda.memory_allocated() if cuda else 0
    runner = build()
    runner.step()  # in which cuDNN tries algorithms, in much memory
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    for _ in range(warmup - 1):
        runner.step()
    runner.end_turn()
    if cuda:
        torch.cuda.synchronize()
        runner.memory = torch.cuda.max_memory_allocated() - before
    return runner


def summary(config: TrainConfig, norm: str, runners: list[Runner]) -> dict[str, Any]:
    """What was measured of one norm."""
    mine = {runner.program: runner for runner in runners if runner.norm == norm}
    networks = {"textbook": textbook_networks, "ours": our_networks}
    result: dict[str, Any] = {"preset": config.preset, "norm": norm, "batch": config.batch, "n_dis": config.n_dis}
    result["programs"] = {}
    for program, runner in mine.items():
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
    if "textbook" in mine:
        result |= spread_of(mine["ours"].rates, mine["textbook"].rates)
    return result


def ratios_of_norms(name: str, runners: list[Runner]) -> list[dict[str, Any]]:
    """Step time of our programs under one norm, divided by that under another."""
    rates = {runner.norm: runner.rates for runner in runners if runner.program == "ours"}
    pairs = [(a, b) for a, b in NORM_PAIRS if a in rates and b in rates]
    return [{"preset": name, "norms": f"{a}/{b}", **spread_of(rates[b], rates[a])} for a, b in pairs]


def spread_of(above: list[float], below: list[float]) -> dict[str, Any]:
    """Median and quartiles of the rounds' ratios."""
    ratios = Spread.of(np.divide(above, below))
    return {"ratio": ratios.median, "ratio_quartiles": [ratios.low, ratios.high]}


def table(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    settings, rates = results["settings"], results["product_flop_per_second"]
    lines = [
        ", ".join(f"{name} {value}" for name, value in (results["hardware"] | results["versions"]).items()),
        f"batch {settings['batch']}, {settings['rounds']} rounds of {settings['steps']} steps; matrix product: "
        + ", ".join(f"{precision} {rate / 1e9:.0f} GFLOP/s" for precision, rate in rates.items()),
        "",
        "| recipe | norm | program | precision | images/s | ours / textbook | model GFLOP/s | of the product rate "
        "| peak memory |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for result in results["results"]:
        for program, found in result["programs"].items():
            ratio = spread_text(result) if program == "ours" and "ratio" in result else ""
            memory = "" if found["peak_memory_bytes"] is None else f"{found['peak_memory_bytes'] / 1e6:.0f} MB"
            cells = (result["preset"], result["norm"], program, found["precision"])
            cells += (f"{found['images_per_second']:.1f}", ratio, f"{found['model_flop_per_second'] / 1e9:.1f}")
            cells += (f"{found['share_of_product_rate']:.1%}", memory)
            lines.append(f"| {' | '.join(cells)} |")
    if results["step_time_of_norms"]:
        lines += ["", "| recipe | norms | step time of ours, ratio |", "| --- | --- | --- |"]
        for found in results["step_time_of_norms"]:
            lines.append(f"| {found['preset']} | {found['norms']} | {spread_text(found, 3)} |")
    return "\n".join(lines)


def spread_text(found: dict[str, Any], digits: int = 2) -> str:
    low, high = found["ratio_quartiles"]
    return f"{found['ratio']:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


if __name__ == "__main__":
    main()
