"""The Fréchet distance of one generator over several draws of latents: the error of its score"""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean, stdev
from typing import Any

import torch

from gan.distributed import process_group
from gan.metrics.extractor import Extractor
from gan.metrics.feature_pass import ImageStream
from gan.metrics.reference import Reference
from gan.metrics.score import score
from gan.utils.random_streams import DRAWS, random_stream


def draw_seed(seed: int, draw: int) -> int:
    """The seed of the latents of a draw, as `sample --seed` takes it; that of draw 0 is the seed itself."""
    if draw == 0:
        return seed
    return int(torch.randint(2**32, (), generator=random_stream(seed, DRAWS, draw)))


def fid_over_draws(
    first: float | None,
    redraw: Callable[[int], ImageStream],
    draws: int,
    reference: Reference | None,
    extractor: Extractor,
    *,
    seed: int,
    ema: bool,
) -> dict[str, Any]:
    """Score further draws of latents. Several ranks call it together, and rank 0 gets the scores.

    Args:
        first: the FID of draw 0; None on ranks other than 0.
        redraw: returns the images of a draw, from the seed `draw_seed`.
        draws: number of draws, with the first.
        seed, ema: see `score`.

    Returns:
        `fid`, a list with the FID of each draw, and `seeds`. It is empty on ranks other than 0.
    """
    fids = [first]
    for draw in range(1, draws):
        fids.append(score(redraw(draw), reference, extractor, ("fid",), seed=seed, ema=ema).get("fid"))
    if not process_group.is_rank0():
        return {}
    return {"fid": fids, "seeds": [draw_seed(seed, draw) for draw in range(draws)]}


def draws_text(fids: list[float]) -> str:
    """Mean and standard deviation of FIDs over draws in words."""
    return f"FID over {len(fids)} draws of latents: {fmean(fids):.2f}, SD {stdev(fids):.2f}"
