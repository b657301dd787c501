"""Time PNG files to FID and Inception score: this program against the commands of pytorch-fid and torch-fidelity.

    python benchmarks/fid_speed.py --data cifar10.zip --num 2000 --json speed.json

Each program reads the same two folders, half of the images in either, timed from the start of its process to its end.
Programs take turns, every other round in reverse order, so that changes in the machine's speed affect all of them.
Weights are random, in the published file's format (or the file given with --weights). pytorch-fid computes no Inception
score; the others do.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_fid.inception
import torch
from PIL import Image
from torch import Tensor, nn

from gan.bench.turns import take_turns
from gan.metrics.extractor import ExtractorOptions
from gan.metrics.extractors import create_extractor
from gan.metrics.feature_pass import ImageStream
from gan.metrics.inception_weights import FILE_NAME
from gan.metrics.preprocess import pytorch_fid as preprocess
from gan.metrics.protocol import feature_versions
from gan.metrics.score import score
from gan.utils.environment import hardware_info
from gan.utils.markdown_table import markdown_table
from gan.utils.progress import say

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


def main() -> None:
    """Run the benchmark with the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="zip or folder of images of one size")
    parser.add_argument("--num", type=int, default=2000, help="images in all, half of them real")
    parser.add_argument("--rounds", type=int, default=1, help="runs of each program; the fastest counts")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--precision", nargs="+", default=["fp32", "bf16"], choices=["fp32", "bf16"], help="of msn-gan")
    parser.add_argument("--weights", type=Path, help="file of the published Inception weights, instead of random ones")
    parser.add_argument("--json", type=Path, help="write the results to a file too")
    parser.add_argument("--ours", nargs=2, type=Path, metavar=("REAL", "GENERATED"), help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.ours:
        real, generated = flags.ours
        print(json.dumps(ours(real, generated, flags.weights, flags.device, flags.precision[0])))
        return
    if flags.data is None:
        parser.error("--data is needed: a zip or folder of images")
    with tempfile.TemporaryDirectory() as folder:
        results = compare(flags, Path(folder))
    print(table(results))
    if flags.json:
        flags.json.write_text(json.dumps(results, indent=2) + "\n")


def compare(flags: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Write images and weights into a folder, then time every program."""
    images = sample_images(flags.data, flags.num)
    for name, part in (("generated", images[::2]), ("real", images[1::2])):
        (folder / name).mkdir()
        for index, image in enumerate(part):
            image.save(folder / name / f"{index:06}.png")
    weights = folder / "torch" / "hub" / "checkpoints" / FILE_NAME  # path expected by pytorch-fid
    weights.parent.mkdir(parents=True)
    if flags.weights:
        weights.symlink_to(flags.weights.resolve())
    else:
        write_random_weights(weights, images[:: max(1, len(images) // 16)][:16])

    real, generated = str(folder / "real"), str(folder / "generated")
    cuda = flags.device == "cuda"
    programs = {
        "pytorch-fid": ["-m", "pytorch_fid", generated, real, "--device", flags.device],
        "torch-fidelity": ["-m", "torch_fidelity.fidelity", "--input1", generated, "--input2", real, "--fid", "--isc"]
        + [*(["--gpu", "0"] if cuda else ["--cpu"]), "--json", "--feature-extractor-weights-path", str(weights)],
    }
    for precision in flags.precision:
        programs[f"msn-gan {precision}"] = [__file__, "--ours", real, generated, "--weights", str(weights)]
        programs[f"msn-gan {precision}"] += ["--device", flags.device, "--precision", precision]

    def run(name: str) -> tuple[float, float, str]:
        seconds, core_seconds, output = timed([sys.executable, *programs[name]], folder)
        say(f"{name}: {seconds:.1f} s, {core_seconds:.1f} core seconds")
        return seconds, core_seconds, output

    rounds = list(take_turns(list(programs), flags.rounds, run, label="timing"))
    runs = {name: [results[number] for results in rounds] for number, name in enumerate(programs)}
    return {
        "images": len(images),
        "hardware": hardware_info(torch.device(flags.device)),
        "versions": feature_versions(),
        "seconds": {name: [run[0] for run in own] for name, own in runs.items()},
        "core_seconds": {name: [run[1] for run in own] for name, own in runs.items()},
        "scores": {name: scores(own[-1][2]) for name, own in runs.items()},
    }


def ours(real: Path, generated: Path, weights: Path, device: str, precision: str) -> dict[str, Any]:
    """Compute FID and Inception score of two folders of PNGs with this program."""
    options = ExtractorOptions(
        "inception", device=device, weights=weights, allow_other_weights=True, precision=precision
    )
    return score(folder_stream(generated), folder_stream(real), create_extractor(options), cache=False)


def folder_stream(folder: Path) -> ImageStream:
    """Return the PNGs of a folder as a stream."""
    paths = sorted(folder.iterdir())

    def batches() -> Iterator[Tensor]:
        for path in paths:
            yield torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1)[None]

    return ImageStream(folder.name, len(paths), batches)


def sample_images(data: Path, num: int) -> list[Image.Image]:
    """Return `num` evenly spaced images of a zip or folder."""
    if data.is_dir():
        paths = [path for path in sorted(data.rglob("*")) if path.suffix.lower() in ENDINGS]
        return [Image.open(path).convert("RGB") for path in paths[:: max(1, len(paths) // num)][:num]]
    with zipfile.ZipFile(data) as archive:
        names = [name for name in sorted(archive.namelist()) if name.lower().endswith(ENDINGS)]
        chosen = names[:: max(1, len(names) // num)][:num]
        return [Image.open(io.BytesIO(archive.read(name))).convert("RGB") for name in chosen]


def write_random_weights(path: Path, images: list[Image.Image]) -> None:
    """Write random weights; batch norms are calibrated on images, because vanishing activations would be slow."""
    torch.manual_seed(0)
    loader = pytorch_fid.inception.load_state_dict_from_url
    load = nn.Module.load_state_dict
    try:
        pytorch_fid.inception.load_state_dict_from_url = lambda *arguments, **options: {}
        nn.Module.load_state_dict = lambda *arguments, **options: None  # type: ignore[method-assign]
        network = pytorch_fid.inception.fid_inception_v3()
    finally:
        pytorch_fid.inception.load_state_dict_from_url = loader
        nn.Module.load_state_dict = load  # type: ignore[method-assign]
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.bias)
            module.momentum = None
    pixels = torch.stack([torch.from_numpy(np.array(image)).permute(2, 0, 1) for image in images])
    with torch.no_grad():
        network.train()(preprocess(pixels))
    torch.save(network.state_dict(), path)


def timed(command: list[str], folder: Path) -> tuple[float, float, str]:
    """Run a command; returns its wall-clock time, its CPU time in seconds, and its output."""
    environment = os.environ | {"TORCH_HOME": str(folder / "torch")}
    start, before = time.monotonic(), os.times()
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\nfailed:\n{done.stderr[-2000:]}")
    after = os.times()
    busy = after.children_user - before.children_user + after.children_system - before.children_system
    return time.monotonic() - start, busy, done.stdout


def scores(text: str) -> dict[str, float]:
    """Read FID and Inception score from the output of a program."""
    if "FID:" in text:
        return {"fid": float(text.split("FID:")[1])}
    record = json.loads(text[text.index("{") :])
    names = {
        "fid": "fid",
        "frechet_inception_distance": "fid",
        "inception_score": "is",
        "inception_score_mean": "is",
    }
    return {short: record[name] for name, short in names.items() if name in record}


def table(results: dict[str, Any]) -> str:
    """Format the results as Markdown; the ratio is to the faster of the two other programs."""
    fastest = {name: min(values) for name, values in results["seconds"].items()}
    best = min(fastest["pytorch-fid"], fastest["torch-fidelity"])
    rows = []
    for name, seconds in fastest.items():
        values = results["scores"][name]
        rows.append(
            [
                name,
                f"{seconds:.1f}",
                f"{min(results['core_seconds'][name]):.1f}",
                f"{results['images'] / seconds:.1f}",
                f"{best / seconds:.2f}x" if name.startswith("msn-gan") else "",
                f"{values['fid']:.5f}",
                f"{values['is']:.6f}" if "is" in values else "",
            ]
        )
    header = ["program", "seconds", "core seconds", "images/s", "faster than the better of the two", "FID", "IS"]
    hardware = ", ".join(f"{name} {value}" for name, value in results["hardware"].items())
    return f"{results['images']} images, {hardware}\n\n{markdown_table(header, rows)}"


if __name__ == "__main__":
    main()
