"""The commands of every page run as they stand there, one after another; plan.py says what shortens them."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documentation.pages import PAGES, ROOT, blocks
from tests.documentation.plan import BEFORE, OTHER_RUN, is_code, reason_not_run, shortened, shortened_torchrun
from tests.documentation.shell import Command, commands
from tests.documentation.stand_ins import put_in_place
from tests.helpers.commands import Call

QUICK = {"docs/recipes.md"}
"""Pages whose commands take a few seconds in all. The others are slow tests."""


def commands_of(page: str) -> list[Command]:
    """The commands of a page that are run."""
    found = [command for block in blocks(page) if block.kind == "sh" and is_code(block) for command in commands(block)]
    return [command for command in found if reason_not_run(command) is None]


def run_python(*words: str) -> tuple[int, str]:
    """Run Python; scripts of the repository are found from any folder."""
    found = [str(ROOT / word) if word == "msn_gan.py" or word.startswith("benchmarks/") else word for word in words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, *found], capture_output=True, text=True, env=environment)
    return done.returncode, done.stdout + done.stderr


def run(call: Call, command: Command) -> tuple[int, str]:
    """Exit code and output of a command."""
    program, *arguments = command.words
    if command.completion:
        code, told = run_python(
            "-c",
            f"import os, sys; sys.path.insert(0, {str(ROOT)!r}); sys.argv = ['msn-gan']; "
            f"os.environ['_MSN_GAN_COMPLETE'] = '{command.completion}_source'; from gan.__main__ import run; run()",
        )
        return (code, told) if "_MSN_GAN_COMPLETE" in told else (1, f"no completion script: {told}")
    if program == "msn-gan":
        if str(command).startswith(tuple(OTHER_RUN)):
            shutil.rmtree(Path("checkpoints", arguments[1]))
        return call(*shortened(arguments))
    if program == "torchrun":
        return run_python("-m", "torch.distributed.run", *shortened_torchrun(arguments))
    assert program == "python", command
    return run_python(*shortened(arguments))


PARAMETERS = [
    pytest.param(page, marks=() if page in QUICK else pytest.mark.slow, id=page)
    for page in PAGES
    if any(block.kind == "sh" and is_code(block) for block in blocks(page))
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("page", PARAMETERS)
def test_the_commands_of_a_page(page: str, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not commands_of(page):
        pytest.skip("all of its commands are in NOT_RUN")
    put_in_place(tmp_path, page, monkeypatch)
    for line in BEFORE.get(page, ()):
        words = shlex.split(line)
        if words[0] == "cp":
            shutil.copy(*words[1:])
            continue
        code, told = call(*shortened(words))
        assert code == 0, f"{line}\n{told}"
    failed = []
    for command in commands_of(page):
        code, told = run(call, command)
        if code:
            failed.append(f"{command.block}: {command}\n{told}")
    assert not failed, "\n".join(failed)
