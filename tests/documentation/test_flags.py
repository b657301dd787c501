"""Every flag on the pages exists."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from gan import cli

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_OTHERS = {"--help", "--index-url", "--logdir", "--packages", "--tests"}  # of click, pip, TensorBoard and tools/
_SLURM = "--array --cpus-per-task --gpus --gpus-per-node --job-name --nodes --ntasks-per-node --signal --time"
_TORCHRUN = (
    "--master-addr --master-port --nnodes --node-rank --no-python --nproc-per-node --standalone --shutdown-timeout"
)
_LAUNCHERS = {*_SLURM.split(), *_TORCHRUN.split()}


def flags_of(command: click.Command) -> set[str]:
    """The flags of a command and of its sub-commands."""
    flags = {flag for option in command.params for flag in (*option.opts, *option.secondary_opts)}
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            flags |= flags_of(found)
    return flags


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_flags_exist(page: Path) -> None:
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", page.read_text(encoding="utf-8")))
    known = flags_of(cli.main) | _OTHERS | (_LAUNCHERS if page.name == "distributed.md" else set())
    assert not named - known
