"""The metric `copies`: AuthPct, C_T with held-out images, and which generated images are nearest to real ones"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gan.metrics import authenticity
from gan.metrics.authenticity import CELLS, Nearest
from gan.metrics.distances import Features
from gan.metrics.reference import Reference
from gan.utils.counted import counted
from gan.utils.progress import progress, working
from gan.utils.random_streams import COPIES, random_stream

SHOWN = 10
"""Generated images in each list of `copy_scores`."""

_FEW_HELD_OUT = 100  # below which a warning is given
_MOST_TRAINED_ON = 0.01  # share of held-out images with the features of a training image, above which one is given


@dataclass(eq=False)
class HeldOut:
    """Real images that were not trained on. What does not depend on generated images is computed once."""

    images: Reference
    """With their features."""
    _against: tuple[Reference, _Split] | None = field(default=None, init=False, repr=False)

    def against(self, real: Reference, device: str) -> _Split:
        """Their nearest training images and cells; kept for the next call with the same reference."""
        if self._against is None or self._against[0] is not real:
            held_out, training = self.images.features, real.features
            assert held_out is not None and training is not None
            with progress("nearest real images of the held-out ones", len(held_out), "row") as advance:
                found = authenticity.nearest(training, held_out, device=device, advance=advance)
            with working("cells of C_T"):
                predict = authenticity.fit_cells(training).predict
            self._against = real, _Split(found, predict, predict(np.asarray(held_out)))
        return self._against[1]

    def warnings(self) -> list[str]:
        """Reasons to doubt the scores of the last `against`, a line each."""
        if self._against is None:
            return []
        real, split = self._against
        count, lines = len(split.cells), []
        if count < _FEW_HELD_OUT:
            lines.append(f"C_T from {counted(count, 'held-out image')} detects strong copying only")
        same = int((split.nearest.squared_distance == 0).sum())
        if same > _MOST_TRAINED_ON * count:
            lines.append(
                f"C_T is too high: {same:,} of the {count:,} held-out images have the same features as an image of "
                f"{real.name}, so they are not held out"
            )
        return lines


@dataclass(frozen=True, eq=False)
class _Split:
    """Held-out images against training images."""

    nearest: Nearest
    predict: Callable[[Features], NDArray[np.integer]]
    """Returns the cell of each image."""
    cells: NDArray[np.integer]
    """Cell of each held-out image."""


def copy_scores(
    real: Reference, generated: Features, held_out: HeldOut | None, *, seed: int, device: str
) -> dict[str, Any]:
    """Compute the scores of `copies`.

    Args:
        real: the training images, with their features.
        generated: features (M, D).
        held_out: other real images, for C_T; None: C_T is not computed.
        seed: of the images in `chosen`.
        device: of the matrix products; it must support float64.

    Returns:
        A dict fit for JSON: `auth_pct`, in [0, 100]; with held-out images `ct`, `ct_cells` (see `CopyingTest`) and
        `auth_pct_held_out`, the AuthPct of the held-out images; `copies`, with `SHOWN` images drawn by the seed,
        `chosen`, and those with the smallest ratio, `most`. Each image is a dict with its index, `image`, that of its
        nearest real image, `real`, their `distance`, and its `ratio` to that real image's own nearest neighbour, which
        is None if infinite.

    Raises:
        ValueError: fewer than 2 real images.
    """
    assert real.features is not None
    with progress("distances between real images", len(real.features), "row") as advance:
        radii = real.nearest_distances(device, advance)[:, 0]
    with progress("nearest real images", len(generated), "row") as advance:
        found = authenticity.nearest(real.features, generated, device=device, advance=advance)
    scores: dict[str, Any] = {"auth_pct": authenticity.auth_pct(found, radii)}
    if held_out is not None:
        split = held_out.against(real, device)
        test = authenticity.copying_test(
            split.nearest.squared_distance, found.squared_distance, split.cells, split.predict(np.asarray(generated))
        )
        scores |= {"ct": test.ct, "ct_cells": test.cells}
        scores["auth_pct_held_out"] = authenticity.auth_pct(split.nearest, radii)
    ratios = authenticity.copying_ratios(found, radii)
    chosen = torch.randperm(len(generated), generator=random_stream(seed, COPIES))[:SHOWN].sort().values
    most = ratios.argsort(stable=True)[:SHOWN]
    scores["copies"] = {
        name: [_image(index, found, ratios) for index in indices.tolist()]
        for name, indices in (("chosen", chosen), ("most", most))
    }
    return scores


def _image(index: int, found: Nearest, ratios: Tensor) -> dict[str, Any]:
    ratio = float(ratios[index])
    return {
        "image": index,
        "real": int(found.indices[index]),
        "distance": float(found.squared_distance[index]) ** 0.5,
        "ratio": ratio if np.isfinite(ratio) else None,
    }


def copy_facts(held_out: HeldOut | None) -> dict[str, Any]:
    """The fields of the protocol of `copy_scores`."""
    if held_out is None:
        return {}
    images = held_out.images
    return {
        "held_out": images.name,
        "held_out_content": images.content,
        "held_out_count": images.count,
        "ct_cells": CELLS,
    }
