"""The processes of one job, started by `torchrun`: which of them this one is, how they meet and how they end together.

Each process is a *rank*; rank 0 writes and speaks for all. A process that was started alone is rank 0 of 1, and nothing
here costs it anything. Tensors on the CPU travel by gloo, those on CUDA devices by NCCL.

When a rank fails or is killed, whatever the others next want from it (`gan.distributed.collectives`)
raises `LostContact` there, with what is known of it.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from torch import Tensor

from gan.errors import UsageError, UserError
from gan.utils import progress

# The longest that one rank may work alone: decode a set, or compute scores once all have looked at the images. A rank
# that ends is noticed at once; one whose machine is cut off without a word, only after this time.
_TIMEOUT = timedelta(hours=2)
_ROLL_CALL = 2.0  # seconds in which the ranks that still live say what happened to them
_PATIENCE = 5.0  # seconds in which rank 0 should have told of a failure


@dataclass(frozen=True)
class _Place:
    """Which of how many ranks this process is, in the job and on its machine."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    local_world_size: int = 1
    store: Any = None  # a torch.distributed.Store that all ranks share; it outlives each of them under torchrun


_here = _Place()


class LostContact(UserError):
    """Another rank has failed or is gone, so the job cannot go on."""


def launched_ranks() -> int:
    """How many ranks the launcher has started; 1 without one."""
    return _environment().world_size


def rank() -> int:
    """The number of this rank, from 0."""
    return _here.rank


def world_size() -> int:
    """How many ranks there are, on all machines."""
    return _here.world_size


def is_rank0() -> bool:
    """Whether this is rank 0, which writes and speaks."""
    return _here.rank == 0


def local_rank() -> int:
    """The number of this rank among those of its machine."""
    return _here.local_rank


def local_world_size() -> int:
    """How many ranks there are on this machine."""
    return _here.local_world_size


@contextmanager
def joined_ranks() -> Iterator[None]:
    """A block that all ranks run together; alone, just the block. It falls silent on all ranks but 0.

    Raises:
        UserError: the ranks cannot find each other.
    """
    global _here
    place = _environment()
    if place.world_size == 1:
        yield
        return
    _here = _meet(place)
    if place.rank:
        progress.silence()
    try:
        yield
        with suppress(RuntimeError):  # all is done: a rank that has left already does no harm
            dist.all_reduce(torch.zeros(1))
    except BaseException as error:
        if isinstance(error, SystemExit):  # who stopped it need not be told
            with suppress(RuntimeError):
                _here.store.set("told", str(_here.rank))
        if not isinstance(error, LostContact):
            _leave("was stopped" if isinstance(error, (KeyboardInterrupt, SystemExit)) else _in_a_line(error))
        raise
    if dist.is_initialized():
        dist.destroy_process_group()
    _here = _Place()


def _environment() -> _Place:
    """What torchrun says in its environment variables."""
    world = os.environ.get("WORLD_SIZE", "1")
    names = ("RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    if world == "1":
        return _Place()
    try:
        mine, local, locals_ = (int(os.environ[name]) for name in names)
        return _Place(mine, int(world), local, locals_)
    except (KeyError, ValueError) as error:
        raise UsageError(
            f"WORLD_SIZE is {world}, but {', '.join(names)} are not all numbers: start many ranks with torchrun, "
            "or one with WORLD_SIZE unset"
        ) from error


def _meet(place: _Place) -> _Place:
    if not dist.is_available():
        raise UsageError("this torch was built without torch.distributed; start one process, without torchrun")
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
    try:
        meeting_place, _, _ = next(dist.rendezvous("env://", timeout=_TIMEOUT))
        store = dist.PrefixStore("msn-gan", meeting_place)
        store.set(f"host/{place.rank}", socket.gethostname())
        dist.init_process_group(backend, store=store, rank=place.rank, world_size=place.world_size, timeout=_TIMEOUT)
    except (RuntimeError, ValueError) as error:
        where = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        raise UserError(
            f"rank {place.rank} of {place.world_size} cannot meet the others at {where}: {_in_a_line(error)}"
        ) from error
    return replace(place, store=store)


def own_batch_positions(batch: int, parts: int) -> Tensor | None:
    """Which samples of each batch are this rank's, int64 (batch / ranks,): a run of each part. None: all, alone.

    All ranks' runs together are the samples that one process has in that part, so that they are normalized together.

    Raises:
        UsageError: the batch cannot be shared out evenly.
    """
    if _here.world_size == 1:
        return None
    if batch % (_here.world_size * parts):
        split = f" in {parts} parts (--accumulate)" if parts > 1 else ""
        raise UsageError(
            f"--batch {batch}: cannot be shared out evenly over {_here.world_size} ranks{split}; "
            f"choose a multiple of {_here.world_size * parts}"
        )
    return torch.arange(batch).view(parts, _here.world_size, -1)[:, _here.rank].flatten()


@contextmanager
def reporting_lost_ranks() -> Iterator[None]:
    """Turn what a collective raises when another rank is gone into `LostContact`."""
    try:
        yield
    except RuntimeError as error:
        raise _lost(error) from error


def _lost(error: RuntimeError) -> LostContact:
    """Find out what happened, from what the other ranks have left in the store."""
    _ignore_signals()
    _leave("")
    place, gone = _here, [number for number in range(_here.world_size) if number != _here.rank]
    try:
        deadline = time.monotonic() + _ROLL_CALL
        while gone and time.monotonic() < deadline:
            gone = [number for number in gone if not place.store.check([f"left/{number}"])]
            time.sleep(0.02)
        there = (number for number in range(place.world_size) if number not in gone)
        reasons = {number: place.store.get(f"left/{number}").decode() for number in there}
        for number, reason in reasons.items():
            if reason:
                return LostContact(f"rank {number}: {reason}")
        if gone:
            hosts = sorted({place.store.get(f"host/{number}").decode() for number in gone})
            who = f"rank {gone[0]} is" if len(gone) == 1 else f"ranks {', '.join(map(str, gone))} are"
            return LostContact(
                f"{who} gone (of {place.world_size}; on {', '.join(hosts)}): killed (possibly "
                "out of memory), or the machine was lost"
            )
    except RuntimeError:
        return LostContact(f"rank {place.rank} of {place.world_size} has lost the machine of rank 0")
    return LostContact(f"the {place.world_size} ranks lost contact with each other ({_in_a_line(error)})")


def _leave(reason: str) -> None:
    """Say why this rank leaves ("": since another one has), and let the others notice it at once."""
    with suppress(RuntimeError):
        _here.store.set(f"left/{_here.rank}", reason)
    # NCCL may wait for the lost rank here; there the others notice when this process ends.
    if dist.is_initialized() and not torch.cuda.is_initialized():
        with suppress(RuntimeError):
            dist.destroy_process_group()


def _ignore_signals() -> None:
    """The process is about to end. torchrun asks it to as soon as another one has, which must not cut its words off."""
    with suppress(ValueError):  # in a thread of the backward pass
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, signal.SIG_IGN)


def _in_a_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, UserError) else f"{type(error).__name__}: {text}"


def reports_failure() -> bool:
    """Whether this rank is the one that tells the user of a failure: rank 0, or one of the others if that does not."""
    place = _here
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return True
    if place.world_size == 1:  # they have not met: a wrong flag, which rank 0 sees as well
        number = os.environ.get("RANK", "0")  # absent where no launcher set it, which is what has failed
        if number != "0":
            time.sleep(_PATIENCE)  # torchrun stops rank 0 when this one has ended
        return number == "0"
    _ignore_signals()
    try:
        deadline = time.monotonic() + _PATIENCE
        while place.rank and time.monotonic() < deadline and not place.store.check(["told"]):
            time.sleep(0.02)
        return place.store.compare_set("told", "", str(place.rank)) == str(place.rank).encode()
    except RuntimeError:  # the store was lost together with rank 0's machine
        return place.local_rank == 0


def end_process(code: int) -> NoReturn:
    """End this process after a failure; among several ranks without the waiting that NCCL would do."""
    if _here.world_size > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
