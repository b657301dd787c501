"""Inception score of generated images; it looks at no real ones.

Salimans et al. 2016, "Improved Techniques for Training GANs", arXiv 1606.03498, section 4: exp(E KL(p(y|x) || p(y))),
the mean and the standard deviation over splits. float64.

torchmetrics' score keeps all logits, cannot be given a seed and is NaN where a float32 probability underflows to 0, so
this is ours. It draws the splits as torch-fidelity does: with its seed (2020), the numbers are the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


class InceptionScore:
    """Takes in the logits of `count` images in their order, keeps sums over each split only."""

    def __init__(self, count: int, classes: int, *, splits: int = 10, seed: int = 0, shuffle: bool = True) -> None:
        """Fix which image belongs to which split: images are shuffled by the seed, then cut into even runs.

        Raises:
            ValueError: there are fewer images than splits.
        """
        if count < splits or splits < 1:
            raise ValueError(f"{count} images cannot make {splits} splits")
        order = np.random.RandomState(seed).permutation(count) if shuffle else np.arange(count)
        edges = np.arange(splits + 1) * count // splits
        self._split_of = np.empty(count, dtype=np.int64)
        for split in range(splits):
            self._split_of[order[edges[split] : edges[split + 1]]] = split
        self._sizes = np.diff(edges)
        self._seen = 0
        self._probabilities = np.zeros((splits, classes))  # sum over images of p(y|x)
        self._negentropies = np.zeros(splits)  # sum over images and classes of p log p

    def update(self, logits: ArrayLike) -> None:
        """Take in the logits (N, K) of the next N images.

        Raises:
            ValueError: these are more images than were announced.
        """
        rows = np.asarray(logits, dtype=np.float64)
        splits = self._split_of[self._seen : self._seen + len(rows)]
        if len(splits) < len(rows):
            raise ValueError(f"logits of more than {len(self._split_of)} images")
        log_p = rows - rows.max(axis=1, keepdims=True)
        log_p -= np.log(np.exp(log_p).sum(axis=1, keepdims=True))
        p = np.exp(log_p)
        np.add.at(self._probabilities, splits, p)
        np.add.at(self._negentropies, splits, (p * log_p).sum(axis=1))
        self._seen += len(rows)

    def result(self) -> tuple[float, float]:
        """Mean and standard deviation (divisor: the number of splits) over the splits; each score is in [1, K].

        Raises:
            ValueError: not all images came.
        """
        if self._seen != len(self._split_of):
            raise ValueError(f"logits of {self._seen} images, {len(self._split_of)} were announced")
        q: NDArray[np.float64] = self._probabilities / self._sizes[:, None]
        # q log q is 0 where q is: no image of the split gives that class any probability.
        log_q = np.log(q, out=np.zeros_like(q), where=q > 0)
        # E KL(p || q) = E sum p log p - sum q log q, as E p = q.
        scores = np.exp(self._negentropies / self._sizes - (q * log_q).sum(axis=1))
        return float(scores.mean()), float(scores.std())


def inception_score(logits: ArrayLike, *, splits: int = 10, seed: int = 0, shuffle: bool = True) -> tuple[float, float]:
    """Mean and standard deviation over splits of the Inception score of generated images, from logits (N, K).

    Raises:
        ValueError: there are fewer images than splits.
    """
    rows = np.asarray(logits)
    score = InceptionScore(*rows.shape, splits=splits, seed=seed, shuffle=shuffle)
    score.update(rows)
    return score.result()
