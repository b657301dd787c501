"""Compare FID of the same GAN trained in bf16 and in fp32 with the variation between seeds.

    python benchmarks/bf16_quality.py --data cifar10-train.zip --features classifier:checkpoints/vgg/.../classifier.pt

Prints a table: FID of each seed in both precisions at several steps, the mean difference with its 95 % confidence
interval, and the standard deviation between seeds. After an interruption, the same command resumes. `--only` trains in
one precision, so that two processes can share the work; run the command without it afterwards for the table.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

import torch

from gan.utils.confidence import confidence_interval
from gan.utils.environment import hardware_info, package_versions
from gan.utils.markdown_table import markdown_table

ROOT = Path(__file__).parent.parent
PRECISIONS = ("bf16", "fp32")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--features", required=True, help="feature extractor, as in `msn-gan report`")
    parser.add_argument("--preset", default="msn-dcgan")
    parser.add_argument("--norm", default="msn")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--width", type=int, default=64, help="width of generator and discriminator")
    parser.add_argument("--num", type=int, default=10_000, help="images to score")
    parser.add_argument("--only", choices=PRECISIONS, help="train in this precision and stop")
    parser.add_argument("--out", type=Path, default=Path("bf16-quality"), help="output folder")
    parser.add_argument("--json", type=Path, help="write the results to a file too")
    args = parser.parse_args()

    for precision in PRECISIONS if args.only is None else (args.only,):
        train(precision, args)
    if args.only is None:
        print_results({precision: fid_curves(args.out / "checkpoints" / precision) for precision in PRECISIONS}, args)


def train(precision: str, args: argparse.Namespace) -> None:
    """Train all seeds in one precision, as a comparison of that name."""
    options = {
        "preset": args.preset,
        "norms": args.norm,
        "seeds": args.seeds,
        "steps": args.steps,
        "g-width": args.width,
        "d-width": args.width,
        "precision": precision,
        "data": args.data,
        "report-every": args.steps // 2,
        "report-num": args.num,
        "features": args.features,
        "out": args.out,
    }
    flags = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    subprocess.run([sys.executable, str(ROOT / "msn_gan.py"), "compare", precision, *flags], check=True)


def fid_curves(folder: Path) -> list[dict[int, float]]:
    """Return the FID by step of each seed; empty for one that diverged before its first score."""
    report = json.loads((folder / "report.json").read_text())
    runs = sorted(report["trainings"], key=lambda run: run["seed"])
    return [dict(zip(run["curve"]["step"], run["curve"]["fid"], strict=True)) if run["curve"] else {} for run in runs]


def print_results(curves: dict[str, list[dict[int, float]]], args: argparse.Namespace) -> None:
    """Print the table, and write the JSON file if there is one."""
    facts = {**hardware_info(torch.device("cpu")), **package_versions("torch", "torchvision", "pillow")}
    print("\n" + ", ".join(f"{name} {value}" for name, value in facts.items()))
    features = args.features.partition(":")[0]
    print(f"{args.preset}, {args.norm}, width {args.width}, {args.num:,} images, {features}\n")
    pairs = [pair for pair in zip(*(curves[precision] for precision in PRECISIONS), strict=True) if all(pair)]
    if left_out := len(curves["fp32"]) - len(pairs):
        print(f"{left_out} of {len(curves['fp32'])} seeds are left out: diverged before the first score\n")
    rows = []
    for step in sorted(set.intersection(*(set(curve) for pair in pairs for curve in pair)) if pairs else ()):
        bf16, fp32 = ([pair[index][step] for pair in pairs] for index in range(2))
        mean, half = confidence_interval([a - b for a, b in zip(bf16, fp32, strict=True)])
        spread = [statistics.stdev(values) if len(values) > 1 else float("nan") for values in (bf16, fp32)]
        listed = [", ".join(f"{value:.2f}" for value in values) for values in (bf16, fp32)]
        rows.append(
            [
                step,
                *listed,
                f"{mean:.2f}{'' if half is None else f' ± {half:.2f}'}",
                f"{spread[0]:.2f}, {spread[1]:.2f}",
            ]
        )
    header = ["step", "FID in bf16", "FID in fp32", "mean difference", "standard deviation between seeds, bf16, fp32"]
    print(markdown_table(header, rows))
    if args.json:
        args.json.write_text(json.dumps({"settings": vars(args), "fid": curves}, indent=2, default=str) + "\n")


if __name__ == "__main__":
    main()
