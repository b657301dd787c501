"""Collectives: gather, broadcast, and differentiable all-reduce.

Every function must be called on all ranks, in the same order. For a single rank nothing is exchanged.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from gan.distributed import process_group
from gan.errors import UserError

Result = TypeVar("Result")


def all_gather(value: Result) -> list[Result]:
    """The values of all ranks, by rank."""
    if process_group.world_size() == 1:
        return [value]
    values: list[Any] = [None] * process_group.world_size()
    with process_group.reporting_lost_ranks():
        dist.all_gather_object(values, value)
    return values


def gather_to_rank0(value: Result) -> list[Result]:
    """The values of all ranks, by rank, on rank 0; an empty list on the others."""
    if process_group.world_size() == 1:
        return [value]
    values: list[Any] = [None] * process_group.world_size() if process_group.is_rank0() else []
    with process_group.reporting_lost_ranks():
        dist.gather_object(value, values or None)
    return values


def on_rank0(work: Callable[[], Result]) -> Result:
    """Run `work` on rank 0 and broadcast its result, or raise its UserError on every rank."""
    if process_group.world_size() == 1:
        return work()
    outcome: list[Any] = [None, None]  # result and error
    if process_group.is_rank0():
        try:
            outcome = [work(), None]
        except UserError as error:
            outcome = [None, error]
    with process_group.reporting_lost_ranks():
        dist.broadcast_object_list(outcome, src=0)
    result, failure = outcome
    if failure is not None:
        raise failure
    return result


def first_local_rank_first(work: Callable[[], Result]) -> Result:
    """Run `work` on every rank; on each machine one rank before the others, which find its results in the cache.

    Raises:
        UserError: `work` failed on a rank; raised on every rank, with the number of that rank.
    """
    if process_group.world_size() == 1:
        return work()
    result: Any = None
    for local_first in (True, False):
        own_failure: UserError | None = None
        if (process_group.local_rank() == 0) == local_first:
            try:
                result = work()
            except UserError as error:
                own_failure = error
        for rank, failure in enumerate(all_gather(own_failure)):
            if failure is not None:
                raise UserError(f"rank {rank}: {failure}") if rank else failure
    return result


def require_equal(value: object, problem: str) -> None:
    """Raise a UserError, with `problem` and the rank, if the value of a rank differs from that of rank 0."""
    values = all_gather(value)
    for rank, other in enumerate(values):
        if other != values[0]:
            raise UserError(f"rank {rank} and rank 0 differ: {problem}")


def all_reduce_max(value: int) -> int:
    """The maximum over ranks."""
    if process_group.world_size() == 1:
        return value
    maximum = torch.tensor([value])
    with process_group.reporting_lost_ranks():
        dist.all_reduce(maximum, dist.ReduceOp.MAX)
    return int(maximum)


class _Sum(torch.autograd.Function):
    """The sum over ranks. Its gradient is the sum of the ranks' gradients, so that it is twice differentiable.

    torch.distributed.nn.functional.all_reduce is deprecated, and does not report lost ranks.
    """

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        total = tensor.clone(memory_format=torch.contiguous_format)
        with process_group.reporting_lost_ranks():
            dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _Sum.apply(gradient)


def all_gather_tensor(tensor: Tensor) -> Tensor:
    """The tensors of all R ranks, (R, ...) from (...), by rank; differentiable.

    It is computed as a sum of one rank's values and zeros, so that the bits do not depend on the order of summation.
    """
    if process_group.world_size() == 1:
        return tensor[None]
    own = torch.zeros(process_group.world_size(), *(1,) * tensor.dim(), dtype=tensor.dtype, device=tensor.device)
    own[process_group.rank()] = 1
    return _Sum.apply(own * tensor)


def all_reduce_mean(tensor: Tensor) -> Tensor:
    """The mean over ranks; differentiable."""
    return all_gather_tensor(tensor).mean(0)


def start_all_reduce(tensor: Tensor) -> Callable[[], None]:
    """Start to sum a tensor over ranks, in place; returns a function that waits for the sum."""
    with process_group.reporting_lost_ranks():
        work = dist.all_reduce(tensor, async_op=True)

    def wait() -> None:
        with process_group.reporting_lost_ranks():
            work.wait()

    return wait
