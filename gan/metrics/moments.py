"""Mean and covariance of a stream of feature vectors, in float64"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

_BLOCK = 1024  # rows added to the sums at a time; with fewer, updates of the (D, D) matrix dominate


class FeatureMoments:
    """Running number, mean and scatter matrix of feature vectors; the vectors are not kept.

    Rows are added in blocks of a fixed size, whatever the size of the updates, so the result does not depend on it
    in any bit. Each block is centred on its own mean and merged by the pairwise update (Chan, Golub and LeVeque 1979,
    "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances"), so there is no cancellation if the
    mean is large relative to the standard deviation.
    """

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension
        self._count = 0
        self._mean = np.zeros(dimension)
        self._scatter = np.zeros((dimension, dimension))  # sum of (x - mean)(x - mean)^T
        self._block = np.empty((_BLOCK, dimension))
        self._pending = 0  # rows in the block

    def update(self, features: ArrayLike) -> None:
        """Add feature vectors (N, D)."""
        rows = np.asarray(features)
        if rows.ndim != 2 or rows.shape[1] != self.dimension:
            raise ValueError(f"features of shape (N, {self.dimension}) expected, got {rows.shape}")
        while len(rows):
            taken = min(len(rows), _BLOCK - self._pending)
            self._block[self._pending : self._pending + taken] = rows[:taken]
            self._pending += taken
            rows = rows[taken:]
            if self._pending == _BLOCK:
                self._flush()

    @property
    def count(self) -> int:
        """Number of vectors."""
        return self._count + self._pending

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean (D,)."""
        self._flush()
        return self._mean.copy()

    @property
    def covariance(self) -> NDArray[np.float64]:
        """Covariance (D, D) of at least two vectors, with the divisor N - 1, as in `np.cov`."""
        if self.count < 2:
            raise ValueError("a covariance needs at least two vectors")
        self._flush()
        covariance: NDArray[np.float64] = self._scatter / (self._count - 1)
        return covariance

    def _flush(self) -> None:
        if self._pending:
            rows = self._block[: self._pending]
            mean = rows.mean(axis=0)
            rows -= mean
            total = self._count + len(rows)
            shift = mean - self._mean
            self._scatter += rows.T @ rows
            self._scatter += np.outer(shift, shift) * (self._count * len(rows) / total)
            self._mean += shift * (len(rows) / total)
            self._count, self._pending = total, 0
