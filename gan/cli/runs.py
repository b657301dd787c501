"""The `runs` command."""

import json
import time
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from gan.cli.app import main, out_root
from gan.runs.listing import RunSummary, list_runs
from gan.utils.memory import format_bytes


@main.command()
@out_root
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def runs(root: Path, as_json: bool) -> None:
    """List the runs in checkpoints/: command, step, preset, normalization, best FID and size on disk.

    Example: msn-gan runs
    """
    found = list_runs(root)
    if as_json:
        click.echo(json.dumps([asdict(run) for run in found], indent=2))
        return
    if not found:
        click.echo(f"no runs in {root / 'checkpoints'}; msn-gan train starts one", err=True)
        return
    table = Table()
    for title in ("Run", "Command", "Preset", "Norm"):
        table.add_column(title, overflow="fold")
    for title in ("Step", "Best FID", "Size", "Changed"):
        table.add_column(title, justify="right", overflow="fold")
    for run in found:
        table.add_row(*_row(run))
    console = Console(highlight=False)
    (console if console.is_terminal else Console(highlight=False, width=120)).print(table)


def _row(run: RunSummary) -> tuple[str, ...]:
    fid = run.best.get("fid")
    return (
        run.name,
        run.command,
        run.preset,
        ", ".join(run.norms),
        f"{run.step:,} of {run.steps:,}" if run.steps else "",
        f"{fid:.2f} (step {run.best.get('step', 0):,})" if isinstance(fid, float) else "",
        format_bytes(run.size),
        time.strftime("%Y-%m-%d %H:%M", time.localtime(run.changed)),
    )
