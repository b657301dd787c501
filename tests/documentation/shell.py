"""The commands of a shell block, as bash expands them: loops, braces, variables and quotes are bash's work.

Every program that the pages call is replaced by a script that notes its arguments and does nothing else.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.documentation.pages import Block

PROGRAMS = (
    "msn-gan",
    "python",
    "python3",
    "pip",
    "make",
    "torchrun",
    "tensorboard",
    "git",
    "pre-commit",
)
_NOTE = r"""
{ printf '%s\0' "$_MSN_GAN_COMPLETE" "${0##*/}" "$@"; printf '\1\0'; } >> "$RECORD"
"""
_LAUNCHERS = {"srun": 'exec "$@"', "scontrol": "echo node1"}


@dataclass(frozen=True)
class Command:
    """A command of a block: its block, its words, and the shell whose completion script it asks for."""

    block: Block
    words: tuple[str, ...]
    completion: str = ""

    def __str__(self) -> str:
        return shlex.join(self.words)


@cache
def commands(block: Block) -> tuple[Command, ...]:
    """Run a shell block in bash with programs that note their arguments.

    Raises:
        AssertionError: bash cannot read the block, or it calls a program that is not in `PROGRAMS`.
    """
    text = block.text
    if text.startswith("--"):  # flags alone are those of train
        text = "msn-gan train flags " + text.replace("\n", " ")
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / ".venv").mkdir()
        programs = folder / ".venv" / "bin"
        programs.mkdir()
        for program, script in {**dict.fromkeys(PROGRAMS, _NOTE), **_LAUNCHERS}.items():
            (programs / program).write_text(f"#!/bin/bash\n{script}\n")
            (programs / program).chmod(0o755)
        record = folder / "record"
        record.touch()
        system = os.environ["PATH"]
        environment = {"PATH": f"{programs}{os.pathsep}{system}", "RECORD": str(record), "SLURM_ARRAY_TASK_ID": "3"}
        environment |= {"SLURM_NNODES": "2", "SLURM_NODEID": "0", "SLURM_JOB_NODELIST": "node[1-2]", "HOME": name}
        done = subprocess.run(
            ["bash", "-e", "-c", "source() { :; }\n" + text],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stderr) == (0, ""), f"{block}: bash: {done.stderr or done.returncode}"
        recorded = record.read_text(encoding="utf-8")
    found = []
    for entry in recorded.split("\1\0")[:-1]:
        completion, *words = entry.split("\0")[:-1]
        found.append(Command(block, tuple(words), completion.removesuffix("_source")))
    begins = re.compile(rf"^ *(\S+=\S+ )?(\.venv/bin/)?({'|'.join(PROGRAMS)}) ", re.MULTILINE)
    called = len(begins.findall(text))
    assert len(found) >= max(1, called), f"{block}: {called} lines call programs, bash ran {len(found)}"
    return tuple(found)
