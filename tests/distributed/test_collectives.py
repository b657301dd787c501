"""Collectives: objects in the order of ranks, errors on all ranks, sums that can be differentiated twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from gan.distributed import collectives, process_group
from gan.errors import UsageError, UserError
from tests.helpers.jobs import job, results


def _told() -> dict[str, Any]:
    mine = process_group.rank()
    made: list[int] = []

    def on_lead() -> str:
        made.append(mine)
        return f"of rank {mine}"

    return {
        "place": (
            process_group.rank(),
            process_group.world_size(),
            process_group.local_rank(),
            process_group.local_world_size(),
            process_group.is_rank0(),
        ),
        "gathered": collectives.all_gather({"rank": mine, "data": torch.full((mine,), mine)}),
        "to_lead": collectives.gather_to_rank0(mine * 10),
        "from_lead": collectives.on_rank0(on_lead),
        "made": made,
        "in_turn": collectives.first_local_rank_first(lambda: mine),
        "highest": (collectives.all_reduce_max(mine), collectives.all_reduce_max(-mine)),
        "mean": collectives.all_reduce_mean(torch.tensor([float(mine), 1.0])),
    }


def test_objects(tmp_path: Path) -> None:
    found = results(job(tmp_path, 3, _told))
    for rank, told in enumerate(found):
        assert told["place"] == (rank, 3, rank, 3, rank == 0)
        assert [value["rank"] for value in told["gathered"]] == [0, 1, 2]
        assert [len(value["data"]) for value in told["gathered"]] == [0, 1, 2]
        assert told["to_lead"] == ([0, 10, 20] if rank == 0 else [])
        assert told["from_lead"] == "of rank 0" and told["made"] == ([0] if rank == 0 else [])
        assert told["in_turn"] == rank
        assert told["highest"] == (2, 0)
        assert told["mean"].tolist() == [1.0, 1.0]


def test_alone_it_is_the_work_itself() -> None:
    assert (process_group.rank(), process_group.world_size(), process_group.is_rank0()) == (0, 1, True)
    value = object()
    assert collectives.all_gather(value)[0] is value and collectives.gather_to_rank0(value)[0] is value
    assert collectives.on_rank0(lambda: value) is value and collectives.first_local_rank_first(lambda: value) is value
    assert collectives.all_reduce_max(3) == 3 and collectives.all_reduce_mean(torch.ones(2)).tolist() == [1, 1]
    assert collectives.all_gather_tensor(torch.ones(2)).shape == (1, 2)
    collectives.require_equal(value, "never")


def _failures() -> list[str]:
    """Message of each kind of failure; all ranks are still in step after it."""
    told = []

    def fail_on(number: int) -> int:
        if process_group.rank() == number:
            raise UserError(f"no disk on {number}")
        return number

    for attempt in (
        lambda: collectives.on_rank0(lambda: fail_on(0)),
        lambda: collectives.first_local_rank_first(lambda: fail_on(0)),
        lambda: collectives.first_local_rank_first(lambda: fail_on(1)),
        lambda: collectives.require_equal(min(process_group.rank(), 1), "other images"),
    ):
        with pytest.raises(UserError) as error:
            attempt()
        told.append(str(error.value))
    assert collectives.all_gather(process_group.rank()) == [0, 1]
    return told


def test_a_failure_on_one_rank_is_told_on_all(tmp_path: Path) -> None:
    expected = ["no disk on 0", "no disk on 0", "rank 1: no disk on 1", "rank 1 and rank 0 differ: other images"]
    assert results(job(tmp_path, 2, _failures)) == [expected, expected]


def _order(log: Path) -> None:
    def note() -> None:
        with open(log, "a") as file:
            file.write(f"{process_group.local_rank()}")

    collectives.first_local_rank_first(note)


def test_the_first_of_a_machine_goes_before_the_others(tmp_path: Path) -> None:
    results(job(tmp_path, 3, _order, tmp_path / "log"))
    assert (tmp_path / "log").read_text() in ("012", "021")


def _derivatives(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """First and second derivatives of the sum over ranks of f(mean over ranks)."""
    own = x[process_group.rank()].clone().requires_grad_()
    value = collectives.all_reduce_mean(own).pow(3).sum() * (process_group.rank() + 1)
    (first,) = torch.autograd.grad(value, own, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), own)
    return value.detach(), first.detach(), second


def test_means_can_be_derived_twice(tmp_path: Path) -> None:
    x = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = results(job(tmp_path, 3, _derivatives, x))
    whole = x.clone().requires_grad_()
    value = sum(whole.mean(0).pow(3).sum() * (rank + 1) for rank in range(3))
    (first,) = torch.autograd.grad(value, whole, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), whole)
    torch.testing.assert_close(sum(one[0] for one in found), value.detach(), rtol=1e-12, atol=1e-12)
    for rank, (_, own_first, own_second) in enumerate(found):
        torch.testing.assert_close(own_first, first[rank].detach(), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(own_second, second[rank], rtol=1e-12, atol=1e-12)


def _positions() -> list[list[int]]:
    return [process_group.own_batch_positions(12, parts).tolist() for parts in (1, 2, 3)]  # type: ignore[union-attr]


def test_each_rank_has_a_run_of_every_part(tmp_path: Path) -> None:
    assert process_group.own_batch_positions(12, 5) is None
    found = results(job(tmp_path, 2, _positions))
    assert found[0] == [[0, 1, 2, 3, 4, 5], [0, 1, 2, 6, 7, 8], [0, 1, 4, 5, 8, 9]]
    assert found[1] == [[6, 7, 8, 9, 10, 11], [3, 4, 5, 9, 10, 11], [2, 3, 6, 7, 10, 11]]


def _refused() -> str:
    with pytest.raises(UsageError) as error:
        process_group.own_batch_positions(10, 2)
    return str(error.value)


def test_a_batch_that_does_not_divide(tmp_path: Path) -> None:
    line = "--batch 10: cannot be split evenly over 2 ranks in 2 parts (--accumulate); choose a multiple of 4"
    assert results(job(tmp_path, 2, _refused)) == [line, line]
