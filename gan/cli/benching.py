"""`bench`: how fast and how large."""

from __future__ import annotations

import json
from pathlib import Path

import click

from gan import bench_onnx
from gan.cli.group import main
from gan.errors import UsageError


@main.command()
@click.option("--onnx", is_flag=True, help="Time exported networks in ONNX Runtime, one item at a time.")
@click.argument("files", nargs=-1, metavar="FILE...", type=click.Path(path_type=Path))
@click.option("--runs", type=click.IntRange(10), default=500, show_default=True, help="Of each file and thread count.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def bench(onnx: bool, files: tuple[Path, ...], runs: int, as_json: bool) -> None:
    """Measure what a network costs on this machine.

    For each FILE of `msn-gan export`: median and 99th percentile of the latency at 1 and 2 threads, size, peak memory.
    Close other programs first.

    Example: msn-gan bench --onnx exports/cats.onnx exports/cats-int8.onnx
    """
    if not onnx or not files:
        raise UsageError("bench: say what to measure: --onnx FILE..., the .onnx files that `msn-gan export` wrote")
    results = bench_onnx.measure(files, runs)
    click.echo(json.dumps(results, indent=2) if as_json else bench_onnx.table(results))
