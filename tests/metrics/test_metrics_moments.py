from __future__ import annotations

import numpy as np
import pytest

from gan.metrics.moments import FeatureMoments


@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize("count", [2, 1023, 1024, 2500])
def test_agrees_with_numpy(count: int, offset: float) -> None:
    x = np.random.default_rng(0).standard_normal((count, 40)).astype(np.float32) + np.float32(offset)
    moments = FeatureMoments(40)
    moments.update(x)
    assert moments.count == count
    np.testing.assert_allclose(moments.mean, x.astype(np.float64).mean(axis=0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(moments.covariance, np.cov(x, rowvar=False), rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [1, 7, 1024, 1500])
def test_batch_size_changes_no_bit(size: int) -> None:
    x = np.random.default_rng(1).standard_normal((2100, 5))
    whole, parts = FeatureMoments(5), FeatureMoments(5)
    whole.update(x)
    for start in range(0, len(x), size):
        parts.update(x[start : start + size])
    assert np.array_equal(whole.covariance, parts.covariance)
    assert np.array_equal(whole.mean, parts.mean)


def test_reading_midway_changes_nothing_that_matters() -> None:
    x = np.random.default_rng(3).standard_normal((60, 4))
    moments = FeatureMoments(4)
    moments.update(x[:25])
    np.testing.assert_allclose(moments.covariance, np.cov(x[:25], rowvar=False), atol=1e-13)
    moments.update(x[25:])
    np.testing.assert_allclose(moments.covariance, np.cov(x, rowvar=False), atol=1e-13)


def test_one_vector_has_no_covariance() -> None:
    moments = FeatureMoments(3)
    moments.update(np.ones((1, 3)))
    with pytest.raises(ValueError, match="at least two"):
        _ = moments.covariance
    with pytest.raises(ValueError, match=r"\(N, 3\)"):
        moments.update(np.ones((2, 4)))
