"""`bench`: how fast and how large."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from gan.bench import onnx_latency
from gan.cli.app import Names, device_option, main
from gan.errors import UsageError
from gan.runtime import PRECISIONS
from gan.utils.files import write_json

_MODELS = "cnn3,vgg7,densenet-bc,resnet18,msn-dcgan,sngan-resnet"


@main.command()
@click.option("--models", type=Names(), default=_MODELS, show_default=True, help="Classifiers, and presets (their D).")
@click.option("--norms", type=Names(), default="none,bn,mean,sn,msn", show_default=True)
@click.option("--batch", type=int, default=32, show_default=True, help="Images of a training step.")
@click.option("--rounds", type=int, default=9, show_default=True, help="Turns of each norm.")
@click.option("--precision", type=click.Choice(PRECISIONS), default="auto", show_default=True)
@click.option("--seconds", type=float, help="Begin no round that would end later; at least one for each model.")
@click.option("--memory/--no-memory", default=True, show_default=True, help="Peak memory of training.")
@click.option("--onnx", is_flag=True, help="Time FILE... in ONNX Runtime instead, one item at a time.")
@click.argument("files", nargs=-1, metavar="[FILE...]", type=click.Path(path_type=Path))
@click.option("--runs", type=click.IntRange(10), default=500, show_default=True, help="Of each FILE and thread count.")
@click.option("--json", "path", type=click.Path(dir_okay=False, path_type=Path), help="Write the results here too.")
@device_option
def bench(path: Path | None, onnx: bool, files: tuple[Path, ...], runs: int, **settings: Any) -> None:
    """Time networks under several normalizations, in turn, and print the ratios MSN/BN and MSN/SN.

    Timed are the training step, inference at batch 1 and 64, and inference after folding; counted are parameters, peak
    memory and FLOP. It says which of these the MSN paper's "16 % faster than BN" could mean here. Ctrl-C keeps what is
    finished.

    With --onnx, for each FILE of `msn-gan export`: median and 99th percentile of the latency at 1 and 2 threads, size
    and peak memory.

    \b
    Examples: msn-gan bench --models densenet-bc --norms none,bn,sn,msn --batch 32 --seconds 120 --json bench.json
              msn-gan bench --onnx exports/cats.onnx exports/cats-int8.onnx
    """
    from gan.bench import report, runner

    if path and not path.absolute().parent.is_dir():
        raise UsageError(f"--json {path}: there is no folder {path.absolute().parent}")
    if onnx != bool(files):
        raise UsageError("bench: --onnx FILE... measures the .onnx files that `msn-gan export` wrote; give both")
    given = _given() - {"onnx", "files", "path"}
    if unused := given - {"runs"} if onnx else given & {"runs"}:
        kind = "networks under norms, not --onnx" if onnx else "--onnx"
        raise UsageError(f"{', '.join(sorted(_flag(name) for name in unused))}: for {kind}; leave it out")
    if onnx:
        measured = onnx_latency.measure_onnx(files, runs)
        click.echo(onnx_latency.onnx_table(measured))
        _write(path, measured)
        return
    record, code = runner.run_bench(runner.BenchPlan(**settings))
    click.echo(report.bench_markdown(record))
    _write(path, record)
    if record["stopped"]:
        click.echo(f"msn-gan: {record['stopped']}", err=True)
    sys.exit(code)


def _given() -> set[str]:
    """Names of the parameters that the command line has."""
    context = click.get_current_context()
    return {name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE}


def _flag(name: str) -> str:
    return next(item.opts[0] for item in click.get_current_context().command.params if item.name == name)


def _write(path: Path | None, record: Any) -> None:
    if path:
        write_json(path, record)
