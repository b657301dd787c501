"""What the ranks of a job tell each other: objects, and sums of tensors through which gradients flow.

Every function must be called on all ranks, in the same order; alone it does nothing but its work.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from gan.distributed import process_group
from gan.errors import UserError

Result = TypeVar("Result")


def all_gather(value: Result) -> list[Result]:
    """What all ranks give, by rank."""
    if process_group.world_size() == 1:
        return [value]
    values: list[Any] = [None] * process_group.world_size()
    with process_group.reporting_lost_ranks():
        dist.all_gather_object(values, value)
    return values


def gather_to_rank0(value: Result) -> list[Result]:
    """What all ranks give, by rank, on rank 0; nothing on the others."""
    if process_group.world_size() == 1:
        return [value]
    values: list[Any] = [None] * process_group.world_size() if process_group.is_rank0() else []
    with process_group.reporting_lost_ranks():
        dist.gather_object(value, values or None)
    return values


def on_rank0(work: Callable[[], Result]) -> Result:
    """What `work` gives on rank 0, which alone does it, on every rank.

    Raises:
        UserError: the one that it raised, on every rank.
    """
    if process_group.world_size() == 1:
        return work()
    box: list[Any] = [None]
    if process_group.is_rank0():
        try:
            box = [(work(), None)]
        except UserError as error:
            box = [(None, error)]
    with process_group.reporting_lost_ranks():
        dist.broadcast_object_list(box, src=0)
    result, problem = box[0]
    if problem is not None:
        raise problem
    return result


def first_local_rank_first(work: Callable[[], Result]) -> Result:
    """What `work` gives on each rank; one on each machine does it before the others, which find what it has cached.

    Raises:
        UserError: it failed on a rank; on every rank, with the number of that rank.
    """
    if process_group.world_size() == 1:
        return work()
    result: Any = None
    for turn in (True, False):
        problem: UserError | None = None
        if (process_group.local_rank() == 0) == turn:
            try:
                result = work()
            except UserError as error:
                problem = error
        for number, other in enumerate(all_gather(problem)):
            if other is not None:
                raise UserError(f"rank {number}: {other}") if number else other
    return result


def require_equal(value: object, problem: str) -> None:
    """Let it pass if the value is the same on all ranks.

    Raises:
        UserError: it is not; says `problem`, and which rank differs from rank 0.
    """
    values = all_gather(value)
    for number, other in enumerate(values):
        if other != values[0]:
            raise UserError(f"rank {number} and rank 0 differ: {problem}")


def all_reduce_max(value: int) -> int:
    """The highest that any rank gives."""
    if process_group.world_size() == 1:
        return value
    number = torch.tensor([value])
    with process_group.reporting_lost_ranks():
        dist.all_reduce(number, dist.ReduceOp.MAX)
    return int(number)


class _Sum(torch.autograd.Function):
    """The sum over ranks. Its gradient is the sum of the ranks' gradients, the same map, so it can be derived twice.

    torch.distributed.nn.functional.all_reduce is deprecated, and does not tell what became of a rank.
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
    """Every rank's tensor, (R, ...) from (...), by rank; the gradient flows back to the rank that each came from.

    A sum in which each place has one rank's number and zeros: whatever order they are added in, the bits are the same.
    """
    if process_group.world_size() == 1:
        return tensor[None]
    own = torch.zeros(process_group.world_size(), *(1,) * tensor.dim(), dtype=tensor.dtype, device=tensor.device)
    own[process_group.rank()] = 1
    return _Sum.apply(own * tensor)


def all_reduce_mean(tensor: Tensor) -> Tensor:
    """The mean over ranks, through which the gradient flows."""
    return all_gather_tensor(tensor).mean(0)


def start_all_reduce(tensor: Tensor) -> Callable[[], None]:
    """Begin to add up a tensor over ranks, in place; returns a function that waits until that is done."""
    with process_group.reporting_lost_ranks():
        work = dist.all_reduce(tensor, async_op=True)

    def wait() -> None:
        with process_group.reporting_lost_ranks():
            work.wait()

    return wait
