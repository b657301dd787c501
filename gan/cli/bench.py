"""The `bench` command: speed and size of networks."""

import sys
from pathlib import Path
from typing import Any

import click

from gan.bench.onnx_latency import measure_onnx, onnx_table
from gan.cli.app import Names, device_option, given_flags, main, overwrite_option
from gan.config.choices import PRECISIONS
from gan.errors import UsageError
from gan.utils.files import require_new_in_folder, write_json

_MODELS = "cnn3,vgg7,densenet-bc,resnet18,msn-dcgan,sngan-resnet"


@main.command()
@click.option("--models", type=Names(), default=_MODELS, show_default=True, help="Classifiers, and presets (their D).")
@click.option(
    "--norms",
    type=Names(),
    default="none,bn,mean,sn,msn",
    show_default=True,
    help="Normalizations, also your own, as file.py:name or package.module:name.",
)
@click.option("--batch", type=int, default=32, show_default=True, help="Images of a training step.")
@click.option("--rounds", type=int, default=9, show_default=True, help="Turns of each norm.")
@click.option("--precision", type=click.Choice(PRECISIONS), default="auto", show_default=True)
@click.option("--seconds", type=float, help="Time limit; each model has at least one round.")
@click.option("--memory/--no-memory", default=True, show_default=True, help="Measure peak memory of training.")
@click.option("--onnx", is_flag=True, help="Time FILE... in ONNX Runtime instead, on batches of one item.")
@click.argument("files", nargs=-1, metavar="[FILE...]", type=click.Path(path_type=Path))
@click.option("--runs", type=click.IntRange(10), default=500, show_default=True, help="Runs per FILE and thread count.")
@click.option("--json", "path", type=click.Path(dir_okay=False, path_type=Path), help="Write the results here too.")
@overwrite_option
@device_option
def bench(path: Path | None, overwrite: bool, onnx: bool, files: tuple[Path, ...], runs: int, **options: Any) -> None:
    """Time networks under several norms, in turn, and print the ratios MSN/BN and MSN/SN.

    Measures the training step, inference at batch 1 and 64, the same after folding, parameters, peak memory and FLOP,
    and which of these match the MSN paper's "16 % faster than BN" on this machine. Ctrl-C keeps finished rounds.

    With --onnx, measures for each FILE of `msn-gan export`: median and 99th percentile of the latency at 1 and 2
    threads, size and peak memory.

    \b
    Examples: msn-gan bench --models densenet-bc --norms none,bn,sn,msn --batch 32 --seconds 120 --json bench.json
              msn-gan bench --onnx exports/cats.onnx exports/cats-int8.onnx
    """
    if path:
        require_new_in_folder(path, "--json", overwrite=overwrite)
    if onnx != bool(files):
        raise UsageError("bench: --onnx FILE... measures the .onnx files that `msn-gan export` wrote; give both")
    given = given_flags(("onnx", "files", "path", "overwrite"))
    unused = sorted(flag for flag in given if (flag == "--runs") != onnx)
    if unused:
        problem = "cannot be combined with --onnx" if onnx else "needs --onnx FILE..."
        raise UsageError(f"{', '.join(unused)}: {problem}")
    stopped, code = None, 0
    if onnx:
        results: Any = measure_onnx(files, runs)
        click.echo(onnx_table(results))
    else:
        from gan.bench import report, runner

        results, code = runner.run_bench(runner.BenchPlan(**options))
        click.echo(report.bench_markdown(results))
        stopped = results["stopped"]
    if path:
        write_json(path, results)
    if stopped:
        click.echo(f"msn-gan: {stopped}", err=True)
    sys.exit(code)
