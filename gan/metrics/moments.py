"""Mean and covariance of a stream of feature vectors, in float64."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

_BLOCK = 1024  # rows taken into the sums at a time; smaller ones would spend their time on the (D, D) matrix


class FeatureMoments:
    """Collects feature vectors; holds their number, mean and scatter matrix, not the vectors.

    Rows enter the sums in blocks of a fixed size, whatever the size of the updates, so the result does not depend on it
    in any bit. Each block is centred on its own mean and joined by the pairwise update (Chan, Golub and LeVeque 1979,
    "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances"), so nothing cancels when the mean is
    large against the spread.
    """

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension
        self._count = 0
        self._mean = np.zeros(dimension)
        self._scatter = np.zeros((dimension, dimension))  # sum of (x - mean)(x - mean)^T
        self._block = np.empty((_BLOCK, dimension))
        self._waiting = 0  # rows of the block that are filled

    def update(self, features: ArrayLike) -> None:
        """Take in feature vectors (N, D).

        Raises:
            ValueError: they are not of D dimensions.
        """
        rows = np.asarray(features)
        if rows.ndim != 2 or rows.shape[1] != self.dimension:
            raise ValueError(f"features of shape (N, {self.dimension}) expected, got {rows.shape}")
        while len(rows):
            taken = min(len(rows), _BLOCK - self._waiting)
            self._block[self._waiting : self._waiting + taken] = rows[:taken]
            self._waiting += taken
            rows = rows[taken:]
            if self._waiting == _BLOCK:
                self._flush()

    @property
    def count(self) -> int:
        """Number of vectors seen."""
        return self._count + self._waiting

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean (D,)."""
        self._flush()
        return self._mean.copy()

    @property
    def covariance(self) -> NDArray[np.float64]:
        """Covariance (D, D) with the divisor N - 1, as `np.cov` has it.

        Raises:
            ValueError: fewer than two vectors were seen.
        """
        if self.count < 2:
            raise ValueError("a covariance needs at least two vectors")
        self._flush()
        covariance: NDArray[np.float64] = self._scatter / (self._count - 1)
        return covariance

    def _flush(self) -> None:
        if self._waiting:
            rows = self._block[: self._waiting]
            mean = rows.mean(axis=0)
            rows -= mean
            self._add(self._waiting, mean, rows.T @ rows)
            self._waiting = 0

    def _add(self, count: int, mean: NDArray[np.float64], scatter: NDArray[np.float64]) -> None:
        total = self._count + count
        shift = mean - self._mean
        self._scatter += scatter
        self._scatter += np.outer(shift, shift) * (self._count * count / total)
        self._mean += shift * (count / total)
        self._count = total
