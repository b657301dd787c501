"""Time the metrics of `report` apart from the network: all of them, FID and Inception score alone, and torch-fidelity.

    python benchmarks/metric_time.py --real 50000 --generated 10000 --dimension 2048

Images are random 32 × 32 pixels, and their features a random projection of them, which costs next to nothing; so the
times are those of reading, hashing, moments, distances and subsets. The network's time is measured on a few images of
Inception with random weights and added in proportion, once for each image. Programs take turns. torch-fidelity gets
the same features and computes FID, Inception score, KID, precision and recall; it has none of the others. It works in
float32 where this program works in float64.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch_fidelity.metric_fid
import torch_fidelity.metric_isc
import torch_fidelity.metric_kid
import torch_fidelity.metric_prc
from fid_speed import write_random_weights
from PIL import Image
from torch import Tensor

from gan.bench.turns import take_turns
from gan.metrics.extractor import ExtractorOptions
from gan.metrics.extractors import create_extractor
from gan.metrics.feature_pass import ImageStream
from gan.metrics.protocol import Protocol
from gan.metrics.score import score
from gan.metrics.score_table import DEFAULT_METRICS, METRICS
from gan.utils.environment import hardware_info
from gan.utils.markdown_table import markdown_table
from gan.utils.progress import say

CLASSES, BATCH = 1008, 500
PROGRAMS = {
    "fid,is": ("fid", "is"),
    ",".join(DEFAULT_METRICS): DEFAULT_METRICS,
    "all": METRICS,
}


def main() -> None:
    """Run the benchmark with the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=int, default=50_000, help="number of real images")
    parser.add_argument("--generated", type=int, default=10_000, help="number of generated images")
    parser.add_argument("--dimension", type=int, default=2048, help="number of features")
    parser.add_argument("--network-images", type=int, default=200, help="images that Inception is timed on")
    parser.add_argument("--rounds", type=int, default=1, help="runs of each program; the fastest counts")
    parser.add_argument("--json", type=Path, help="write the results to a file too")
    flags = parser.parse_args()
    results = measure(flags)
    print(table(results))
    if flags.json:
        flags.json.write_text(json.dumps(results, indent=2) + "\n")


def measure(flags: argparse.Namespace) -> dict[str, Any]:
    """Time the network on a few images, and every program on all of them."""
    stream = torch.Generator().manual_seed(0)
    pixels = {name: random_images(getattr(flags, name), stream) for name in ("real", "generated")}
    extractor = projection(flags.dimension, stream)
    network = inception_seconds(pixels["real"][: flags.network_images])
    features = {name: project(extractor, images) for name, images in pixels.items()}

    def run(name: str) -> float:
        start = time.monotonic()
        if name == "torch-fidelity":
            torch_fidelity_scores(features)
        else:
            streams = (images_of(pixels[side], side) for side in ("generated", "real"))
            score(*streams, extractor, PROGRAMS[name], cache=False)  # type: ignore[arg-type]
        say(f"{name}: {time.monotonic() - start:.1f} s")
        return time.monotonic() - start

    names = [*PROGRAMS, "torch-fidelity"]
    rounds = list(take_turns(names, flags.rounds, run, label="timing"))
    return {
        **{name: getattr(flags, name) for name in ("real", "generated", "dimension")},
        "hardware": hardware_info(torch.device("cpu")),
        "threads": torch.get_num_threads(),
        "network_seconds_per_image": network,
        "seconds": {name: [results[number] for results in rounds] for number, name in enumerate(names)},
    }


def random_images(count: int, stream: torch.Generator) -> Tensor:
    """Random uint8 images (N, 3, 32, 32)."""
    return torch.randint(256, (count, 3, 32, 32), dtype=torch.uint8, generator=stream)


def images_of(pixels: Tensor, name: str) -> ImageStream:
    """Images (N, 3, H, W) as a stream."""
    return ImageStream(name, len(pixels), lambda: iter(pixels.split(BATCH)))


def projection(dimension: int, stream: torch.Generator) -> SimpleNamespace:
    """An extractor whose features and logits are a random projection of the pixels."""
    weights = torch.randn(3 * 32 * 32, dimension + CLASSES, generator=stream) / 55

    def features(images: Tensor) -> tuple[Tensor, Tensor]:
        outputs = (images.flatten(1).float() / 128 - 1) @ weights
        return outputs[:, :dimension].relu(), outputs[:, dimension:]

    protocol = Protocol("projection", "0" * 64, "projection", "none", "fp32")
    return SimpleNamespace(
        name="projection", hash="0" * 64, dimension=dimension, classes=CLASSES, batch_size=BATCH, features=features,
        protocol=protocol, warnings=(),
    )  # fmt: skip


def project(extractor: SimpleNamespace, images: Tensor) -> tuple[Tensor, Tensor]:
    """Features and logits of all images."""
    parts = [extractor.features(batch) for batch in images.split(BATCH)]
    return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])


def inception_seconds(images: Tensor) -> float:
    """Seconds of Inception, with random weights, for one image."""
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "inception.pth"
        write_random_weights(weights, [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images[:16]])
        options = ExtractorOptions("inception", device="cpu", weights=weights, allow_other_weights=True)
        extractor = create_extractor(options)
    extractor.features(images[: extractor.batch_size])  # warm-up
    start = time.monotonic()
    for batch in images.split(extractor.batch_size):
        extractor.features(batch)
    return (time.monotonic() - start) / len(images)


def torch_fidelity_scores(features: dict[str, tuple[Tensor, Tensor]]) -> None:
    """FID, Inception score, KID, precision and recall by torch-fidelity's functions."""
    (generated, logits), (real, _) = features["generated"], features["real"]
    statistics = [torch_fidelity.metric_fid.fid_features_to_statistics(side) for side in (generated, real)]
    torch_fidelity.metric_fid.fid_statistics_to_metric(*statistics, verbose=False)
    torch_fidelity.metric_isc.isc_features_to_metric(logits)
    torch_fidelity.metric_kid.kid_features_to_metric(generated, real, verbose=False)
    torch_fidelity.metric_prc.prc_features_to_metric(generated, real, verbose=False, save_cpu_ram=True)


def table(results: dict[str, Any]) -> str:
    """Format the results as Markdown; ratios are to `fid,is` and include the network's time."""
    network = results["network_seconds_per_image"] * (results["real"] + results["generated"])
    fastest = {name: min(values) for name, values in results["seconds"].items()}
    base = fastest["fid,is"] + network
    rows = [
        [name, f"{seconds:.1f}", f"{seconds + network:.0f}", f"{(seconds + network) / base:.2f}x"]
        for name, seconds in fastest.items()
    ]
    header = ["metrics", "seconds without the network", "seconds with Inception", "ratio to fid,is, with Inception"]
    sizes = f"{results['generated']:,} images against {results['real']:,}, {results['dimension']:,} features"
    hardware = ", ".join(f"{name} {value}" for name, value in results["hardware"].items())
    return f"{sizes}, {results['threads']} threads, {hardware}\n\n{markdown_table(header, rows)}"


if __name__ == "__main__":
    main()
