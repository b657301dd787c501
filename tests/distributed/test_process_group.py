"""The place of a process among the ranks, and its part of a batch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from gan import runtime
from gan.data.batches import Batches
from gan.data.image_set import ImageSet
from gan.distributed import process_group
from gan.errors import UsageError


def test_an_environment_that_is_not_torchruns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(UsageError, match="WORLD_SIZE is 2, but RANK, .* start several ranks with torchrun"):
        process_group.launched_ranks()


def test_each_rank_has_a_cuda_device_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    chosen: list[int] = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    assert runtime.resolve_device("cuda") == torch.device("cuda")
    monkeypatch.setattr(
        process_group, "_own", process_group._Rank(rank=5, world_size=8, local_rank=1, local_world_size=2)
    )
    assert runtime.resolve_device("auto") == torch.device("cuda", 1) and chosen == [1]
    monkeypatch.setattr(
        process_group, "_own", process_group._Rank(rank=5, world_size=8, local_rank=2, local_world_size=4)
    )
    with pytest.raises(UsageError, match="cuda: 4 ranks, but torch finds 2 CUDA devices .* --nproc-per-node 2"):
        runtime.resolve_device("cuda")


def test_ranks_read_their_own_images_only(image_set: Callable[..., ImageSet], monkeypatch: pytest.MonkeyPatch) -> None:
    images = image_set()
    everything = Batches(images, 8, 0, flip=True).at(5)
    for rank in range(2):
        monkeypatch.setattr(process_group, "_own", process_group._Rank(rank=rank, world_size=2))
        mine = Batches(images, 8, 0, flip=True, positions=process_group.own_batch_positions(8, 1)).at(5)
        torch.testing.assert_close(mine.images, everything.images.chunk(2)[rank], rtol=0, atol=0)
        assert mine.labels is not None and everything.labels is not None
        assert mine.labels.tolist() == everything.labels.chunk(2)[rank].tolist()
