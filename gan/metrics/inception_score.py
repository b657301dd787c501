"""Inception score of generated images; it needs no real ones.

Salimans et al. 2016, "Improved Techniques for Training GANs", arXiv 1606.03498, section 4: exp(E KL(p(y|x) || p(y))),
the mean and the standard deviation over splits. float64.

torchmetrics' score is not used: it keeps all logits, takes no seed and is NaN if a float32 probability underflows to 0.
Splits are drawn as torch-fidelity draws them: with its seed (2020), the scores are equal.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray


class InceptionScore:
    """Inception score from batches of logits, in the order of the images; only sums over each split are kept."""

    def __init__(self, count: int, classes: int, *, splits: int = 10, seed: int = 0, shuffle: bool = True) -> None:
        """Assign images, at least one for each split, to splits: shuffle them by the seed, then cut them equally.

        Seeds that are equal modulo 2^32 give the same order.
        """
        if count < splits or splits < 1:
            raise ValueError(f"{count} images cannot be divided into {splits} splits")
        order = np.random.RandomState(seed % 2**32).permutation(count) if shuffle else np.arange(count)
        edges = np.arange(splits + 1) * count // splits
        self._split_of = np.empty(count, dtype=np.int64)
        for split in range(splits):
            self._split_of[order[edges[split] : edges[split + 1]]] = split
        self._sizes = np.diff(edges)
        self._count = 0
        self._probabilities = np.zeros((splits, classes))  # sum over images of p(y|x)
        self._negentropies = np.zeros(splits)  # sum over images and classes of p log p

    def update(self, logits: ArrayLike) -> None:
        """Add the logits (N, K) of the next N images; a ValueError if there are more than `count` in all."""
        rows = np.asarray(logits, dtype=np.float64)
        splits = self._split_of[self._count : self._count + len(rows)]
        if len(splits) < len(rows):
            raise ValueError(f"logits of more than {len(self._split_of)} images")
        log_p = rows - rows.max(axis=1, keepdims=True)
        log_p -= np.log(np.exp(log_p).sum(axis=1, keepdims=True))
        p = np.exp(log_p)
        np.add.at(self._probabilities, splits, p)
        np.add.at(self._negentropies, splits, (p * log_p).sum(axis=1))
        self._count += len(rows)

    def result(self) -> tuple[float, float]:
        """Mean and standard deviation (divisor: number of splits) over the splits, each in [1, K], after all images."""
        if self._count != len(self._split_of):
            raise ValueError(f"logits of {self._count} images instead of {len(self._split_of)}")
        q: NDArray[np.float64] = self._probabilities / self._sizes[:, None]
        # q log q is 0 where q is 0.
        log_q = np.log(q, out=np.zeros_like(q), where=q > 0)
        # E KL(p || q) = E sum p log p - sum q log q, as E p = q.
        scores = np.exp(self._negentropies / self._sizes - (q * log_q).sum(axis=1))
        return float(scores.mean()), float(scores.std())
