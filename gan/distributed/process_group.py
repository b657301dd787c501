"""The process group of a job started by `torchrun`: ranks, initialization, and the handling of failed ranks.

Rank 0 writes all files and messages. A process that was started without torchrun is rank 0 of 1, at no cost. Tensors on
the CPU are exchanged by gloo, those on CUDA devices by NCCL.

When a rank fails or is killed, the next collective (`gan.distributed.collectives`) raises `RankFailure` on the others,
with the reason if it is known.

Functions that only several ranks need import torch themselves, so that the command line starts without it.
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
from typing import TYPE_CHECKING, Any, NoReturn

from gan.errors import UsageError, UserError

if TYPE_CHECKING:
    from torch import Tensor

# Longest time that one rank may work alone, to decode images or to compute scores from features. A process that ends is
# noticed at once; a machine that loses its connection, only after this time.
_TIMEOUT = timedelta(hours=2)
_REASONS_TIMEOUT = 2.0  # seconds to wait for the other ranks' reasons of a failure
_REPORT_TIMEOUT = 5.0  # seconds to wait for rank 0 to report a failure
_REPORTED = "reported"  # key of the store: the rank that reports a failure


@dataclass(frozen=True)
class _Rank:
    """The rank of this process and the number of ranks, in the job and on its machine."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    local_world_size: int = 1
    store: Any = None  # torch.distributed.Store of all ranks; under torchrun it outlives each of them


_own = _Rank()


class RankFailure(UserError):
    """Another rank has failed or was killed, so that the job cannot continue."""


def launched_ranks() -> int:
    """Number of ranks that torchrun has started; 1 without it."""
    return _environment().world_size


def rank() -> int:
    """Number of this rank, from 0."""
    return _own.rank


def world_size() -> int:
    """Number of ranks, on all machines."""
    return _own.world_size


def is_rank0() -> bool:
    """True if this process is rank 0, which writes all files and messages."""
    return _own.rank == 0


def local_rank() -> int:
    """Number of this rank among those of its machine, from 0."""
    return _own.local_rank


def local_world_size() -> int:
    """Number of ranks on this machine."""
    return _own.local_world_size


@contextmanager
def joined_ranks() -> Iterator[None]:
    """Run the block as one rank of the job; messages are silenced on all ranks but 0. Does nothing for a single rank.

    Raises:
        UserError: the ranks cannot connect to each other.
    """
    global _own
    own = _environment()
    if own.world_size == 1:
        yield
        return
    import torch
    import torch.distributed as dist

    from gan.utils import progress

    _own = _connect(own)
    if own.rank:
        progress.silence()
    try:
        yield
        with suppress(RuntimeError):  # all work is done, so a rank that has ended already does no harm
            dist.all_reduce(torch.zeros(1))
    except BaseException as error:
        if isinstance(error, SystemExit):  # stopped by a signal, which is not to be reported as a failure
            with suppress(RuntimeError):
                _own.store.set(_REPORTED, str(_own.rank))
        if not isinstance(error, RankFailure):
            _leave("was stopped" if isinstance(error, (KeyboardInterrupt, SystemExit)) else _one_line(error))
        raise
    if dist.is_initialized():
        dist.destroy_process_group()
    _own = _Rank()


def _environment() -> _Rank:
    """The rank of this process according to torchrun's environment variables."""
    world = os.environ.get("WORLD_SIZE", "1")
    names = ("RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    if world == "1":
        return _Rank()
    try:
        rank, local_rank, local_world_size = (int(os.environ[name]) for name in names)
        return _Rank(rank, int(world), local_rank, local_world_size)
    except (KeyError, ValueError) as error:
        raise UsageError(
            f"WORLD_SIZE is {world}, but {', '.join(names)} are not all numbers: start several ranks with torchrun, "
            "or one with WORLD_SIZE unset"
        ) from error


def _connect(own: _Rank) -> _Rank:
    import torch
    import torch.distributed as dist

    if not dist.is_available():
        raise UsageError("this torch was built without torch.distributed; start one process, without torchrun")
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
    try:
        torchrun_store, _, _ = next(dist.rendezvous("env://", timeout=_TIMEOUT))
        store = dist.PrefixStore("msn-gan", torchrun_store)
        store.set(f"host/{own.rank}", socket.gethostname())
        dist.init_process_group(backend, store=store, rank=own.rank, world_size=own.world_size, timeout=_TIMEOUT)
    except (RuntimeError, ValueError) as error:
        where = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        raise UserError(
            f"rank {own.rank} of {own.world_size} cannot connect to the others at {where}: {_one_line(error)}"
        ) from error
    return replace(own, store=store)


def own_batch_positions(batch: int, parts: int) -> Tensor | None:
    """Positions in a batch of this rank's samples, int64 (batch / ranks,); None for a single rank.

    Each of the `parts` that a batch is accumulated in is split over the ranks, so that all ranks together normalize the
    same samples as one process does.

    Raises:
        UsageError: the batch cannot be split evenly.
    """
    if _own.world_size == 1:
        return None
    if batch % (_own.world_size * parts):
        accumulated = f" in {parts} parts (--accumulate)" if parts > 1 else ""
        raise UsageError(
            f"--batch {batch}: cannot be split evenly over {_own.world_size} ranks{accumulated}; "
            f"choose a multiple of {_own.world_size * parts}"
        )
    import torch

    return torch.arange(batch).view(parts, _own.world_size, -1)[:, _own.rank].flatten()


@contextmanager
def reporting_lost_ranks() -> Iterator[None]:
    """Turn the RuntimeError of a collective whose other ranks have ended into `RankFailure`."""
    try:
        yield
    except RuntimeError as error:
        raise _rank_failure(error) from error


def _rank_failure(error: RuntimeError) -> RankFailure:
    """Find the cause in the reasons that the other ranks have written to the store."""
    _ignore_signals()
    _leave("")
    own, gone = _own, [number for number in range(_own.world_size) if number != _own.rank]
    try:
        deadline = time.monotonic() + _REASONS_TIMEOUT
        while gone and time.monotonic() < deadline:
            gone = [number for number in gone if not own.store.check([f"left/{number}"])]
            time.sleep(0.02)
        answering = (number for number in range(own.world_size) if number not in gone)
        reasons = {number: own.store.get(f"left/{number}").decode() for number in answering}
        for number, reason in reasons.items():
            if reason:
                return RankFailure(f"rank {number}: {reason}")
        if gone:
            hosts = ", ".join(sorted({own.store.get(f"host/{number}").decode() for number in gone}))
            ranks = f"rank {gone[0]} is" if len(gone) == 1 else f"ranks {', '.join(map(str, gone))} are"
            return RankFailure(
                f"{ranks} gone (of {own.world_size}; on {hosts}): killed (possibly out of memory), or the machine was "
                "lost"
            )
    except RuntimeError:
        return RankFailure(f"rank {own.rank} of {own.world_size} lost the connection to the machine of rank 0")
    return RankFailure(f"the {own.world_size} ranks lost the connection to each other ({_one_line(error)})")


def _leave(reason: str) -> None:
    """Write the reason why this rank ends ("": because another one has), and let the others notice it at once."""
    import torch
    import torch.distributed as dist

    with suppress(RuntimeError):
        _own.store.set(f"left/{_own.rank}", reason)
    # NCCL could wait for the lost rank here; with it, the others notice when this process ends.
    if dist.is_initialized() and not torch.cuda.is_initialized():
        with suppress(RuntimeError):
            dist.destroy_process_group()


def _ignore_signals() -> None:
    """Ignore the signals by which torchrun ends a process after another has failed, so that messages are complete."""
    with suppress(ValueError):  # in a thread of the backward pass, which cannot set handlers
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, signal.SIG_IGN)


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, UserError) else f"{type(error).__name__}: {text}"


def reports_failure() -> bool:
    """True if this rank reports a failure to the user: rank 0 does, or another rank if rank 0 cannot."""
    own = _own
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return True
    if own.world_size == 1:  # not connected yet: a wrong flag, which rank 0 reports as well
        rank = os.environ.get("RANK", "0")  # unset if the failure is that of the environment variables
        if rank != "0":
            time.sleep(_REPORT_TIMEOUT)  # torchrun stops rank 0 when this process ends
        return rank == "0"
    _ignore_signals()
    try:
        deadline = time.monotonic() + _REPORT_TIMEOUT
        while own.rank and time.monotonic() < deadline and not own.store.check([_REPORTED]):
            time.sleep(0.02)
        return own.store.compare_set(_REPORTED, "", str(own.rank)) == str(own.rank).encode()
    except RuntimeError:  # the store was lost together with rank 0's machine
        return own.local_rank == 0


def end_process(code: int) -> NoReturn:
    """End this process after a failure; with several ranks at once, as NCCL would wait for the others."""
    if _own.world_size > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
