"""Jobs of several ranks: processes that find each other as those of torchrun do, over gloo on this machine."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from gan import cli
from gan.distributed import process_group
from tests.helpers.runs import context

_LONGEST = 120  # seconds


@dataclass(frozen=True)
class Ended:
    """The end of a rank: its exit code, standard error, standard output, and the result of its work."""

    code: int | None
    told: str
    printed: str
    result: Any = None


def job(folder: Path, count: int, work: Callable[..., Any], *arguments: Any) -> list[Ended]:
    """Run `work(*arguments)`, a function of a module, on all ranks together, until they end."""
    return _run(folder, count, work, arguments, joined=True)


def command(folder: Path, count: int, *arguments: Any, before: Callable[[], None] | None = None) -> list[Ended]:
    """Run a command of the program on all ranks, in `folder`. `before` is called on each of them first."""
    return _run(folder, count, _command, (folder, [str(argument) for argument in arguments], before), joined=False)


def results(ended: Sequence[Ended]) -> list[Any]:
    """Result of the work on each rank, all of which must have succeeded."""
    assert all(end.code == 0 for end in ended), "\n".join(end.told for end in ended)
    return [end.result for end in ended]


def lines(ended: Sequence[Ended]) -> list[str]:
    """The lines in which the program told of its failure, on whatever rank."""
    assert not any("Traceback" in end.told for end in ended), "\n".join(end.told for end in ended)
    return [line for end in ended for line in end.told.splitlines() if line.startswith("msn-gan: ")]


def _run(
    folder: Path, count: int, work: Callable[..., Any], arguments: tuple[Any, ...], *, joined: bool
) -> list[Ended]:
    folder.mkdir(parents=True, exist_ok=True)
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # outlives the ranks, as torchrun's
    given = pickle.dumps(arguments)  # as bytes: tensors that are given to a process share their memory
    files = [folder / f"rank-{number}" for number in range(count)]
    processes = [
        context.Process(target=_rank, args=(number, count, store.port, file, work, given, joined))
        for number, file in enumerate(files)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(_LONGEST)
    hung = [number for number, process in enumerate(processes) if process.is_alive()]
    for process in processes:
        process.kill()
    told = [file.with_suffix(".err").read_text() for file in files]
    assert not hung, f"ranks {hung} hang:\n" + "\n".join(told)
    return [
        Ended(process.exitcode, text, _printed(file.with_suffix(".out")), _unpickled(file))
        for process, text, file in zip(processes, told, files, strict=True)
    ]


def _rank(number: int, count: int, port: int, file: Path, work: Callable[..., Any], given: bytes, joined: bool) -> None:
    place = {"RANK": number, "WORLD_SIZE": count, "LOCAL_RANK": number, "LOCAL_WORLD_SIZE": count, "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in place.items()})
    os.environ.update(MASTER_ADDR="127.0.0.1", TORCHELASTIC_USE_AGENT_STORE="True")
    torch.set_num_threads(1)
    sys.stderr, sys.stdout = open(file.with_suffix(".err"), "w"), open(file.with_suffix(".out"), "w")
    for stream in (sys.stderr, sys.stdout):
        os.dup2(stream.fileno(), 2 if stream is sys.stderr else 1)
    file.unlink(missing_ok=True)
    arguments = pickle.loads(given)
    if not joined:
        work(*arguments)
        return
    with process_group.joined_ranks():
        result = work(*arguments)
    file.write_bytes(pickle.dumps(result))


def _command(folder: Path, arguments: list[str], before: Callable[[], None] | None) -> None:
    os.chdir(folder)
    sys.argv = ["msn_gan.py", *arguments]
    if before:
        before()
    cli.main(arguments)


def _printed(file: Path) -> str:
    """Standard output of the program, without the line that the gloo of torch 2.9 prints when ranks connect."""
    return "".join(line for line in file.read_text().splitlines(keepends=True) if not line.startswith("[Gloo] "))


def _unpickled(file: Path) -> Any:
    return pickle.loads(file.read_bytes()) if file.exists() else None
