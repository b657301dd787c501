"""AuthPct and C_T against brute force, and their values for copies and for new samples."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import rankdata

from gan.metrics.authenticity import (
    CELL_IMAGES,
    Nearest,
    auth_pct,
    copying_ratios,
    copying_test,
    fit_cells,
    mann_whitney_z,
    nearest,
)
from gan.metrics.precision_recall import nearest_distances

_NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

Points = np.ndarray


def auth_pct_of(real: Points, generated: Points) -> float:
    return auth_pct(nearest(real, generated), nearest_distances(real, 1)[:, 0])


def ct_of(real: Points, held_out: Points, generated: Points) -> float:
    cells = fit_cells(real)
    squared = [nearest(real, points).squared_distance for points in (held_out, generated)]
    return copying_test(*squared, cells.predict(held_out), cells.predict(generated)).ct


def pairwise(x: Points, y: Points) -> Points:
    return np.linalg.norm(x[:, None].astype(np.float64) - y, axis=2)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


class TestNearest:
    @pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=_NEEDS_CUDA)])
    @pytest.mark.parametrize("counts", [(1, 1), (30, 17), (8, 16), (17, 8)])
    def test_as_brute_force(
        self, counts: tuple[int, int], device: str, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("gan.metrics.authenticity._BLOCK", 8)
        real, queries = (rng.standard_normal((count, 5)).astype(np.float32) for count in counts)
        rows: list[int] = []
        found = nearest(real, queries, device=device, advance=rows.append)
        distances = pairwise(queries, real)
        assert found.indices.tolist() == distances.argmin(axis=1).tolist()
        np.testing.assert_allclose(found.squared_distance.sqrt().numpy(), distances.min(axis=1), rtol=1e-12)
        assert sum(rows) == len(queries)

    def test_a_copy_has_distance_0_and_the_first_index(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("gan.metrics.authenticity._BLOCK", 4)
        real = np.random.default_rng(1).normal(1e3, 1, (10, 64)).astype(np.float32)
        real[9] = real[2]
        found = nearest(real, real)
        assert found.indices.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 2]
        assert found.squared_distance.tolist() == [0] * 10

    def test_wrong_arguments(self) -> None:
        with pytest.raises(ValueError, match="different dimensions: 3 real, 4 of queries"):
            nearest(np.zeros((2, 3)), np.zeros((2, 4)))
        with pytest.raises(ValueError, match="nearest of 0 real images to 2 others"):
            nearest(np.zeros((0, 3)), np.zeros((2, 3)))


class TestAuthPct:
    def test_as_brute_force(self, rng: np.random.Generator) -> None:
        real, generated = rng.standard_normal((60, 4)), rng.standard_normal((50, 4))
        own = pairwise(real, real)
        np.fill_diagonal(own, np.inf)
        authentic = [distances.min() > own[distances.argmin()].min() for distances in pairwise(generated, real)]
        assert auth_pct_of(real, generated) == 100 * np.mean(authentic)

    def test_copies_are_not_authentic(self, rng: np.random.Generator) -> None:
        real = rng.standard_normal((300, 8))
        real[1] = real[0]  # in the set twice, so that its own distance is 0
        assert auth_pct_of(real, real[:200]) == 0
        assert auth_pct_of(real, real[2:200] + rng.standard_normal((198, 8)) * 0.01) < 2
        assert auth_pct_of(real, real + 100) == 100

    @pytest.mark.parametrize("dimension, expected", [(1, 100 / 3), (2, 37.85)])
    def test_a_new_sample_has_the_known_share_of_mutual_neighbours(
        self, dimension: int, expected: float, rng: np.random.Generator
    ) -> None:
        """1 - 2/3 in one dimension, and 1 - 6 pi / (8 pi + 3 sqrt 3) in two."""
        real, generated = rng.random((3000, dimension)), rng.random((3000, dimension))
        assert auth_pct_of(real, generated) == pytest.approx(expected, abs=2.5)

    def test_ratios_rank_images_by_how_near_they_are(self) -> None:
        found = Nearest(torch.tensor([0, 0, 1, 2, 2]), torch.tensor([0.0, 4.0, 1.0, 0.0, 9.0]).double())
        own = torch.tensor([16.0, 0.25, 0.0]).double()
        assert copying_ratios(found, own).tolist() == [0, 0.5, 2, 0, np.inf]
        assert auth_pct(found, own) == 40

    def test_one_real_image(self) -> None:
        with pytest.raises(ValueError, match="at least 2 real images, got 1"):
            auth_pct_of(np.zeros((1, 2)), np.zeros((3, 2)))


class TestCopyingTest:
    def test_z_as_by_ranks(self, rng: np.random.Generator) -> None:
        held_out, generated = rng.integers(0, 9, 40) / 8, rng.integers(0, 9, 70) / 8  # with ties
        u = rankdata(np.concatenate((held_out, generated)))[40:].sum() - 70 * 71 / 2
        expected = (u - 40 * 70 / 2) / np.sqrt(40 * 70 * 111 / 12)
        assert mann_whitney_z(*map(torch.from_numpy, (held_out, generated))) == pytest.approx(expected, rel=1e-12)
        assert mann_whitney_z(*map(torch.from_numpy, (generated, held_out))) == pytest.approx(-expected, rel=1e-12)

    def test_mean_over_cells_by_their_held_out_images(self, rng: np.random.Generator) -> None:
        held_out, generated = torch.from_numpy(rng.random(60)), torch.from_numpy(rng.random(100))
        held_out_cells, generated_cells = np.repeat([0, 1, 2], [10, 30, 20]), np.repeat([0, 1, 2, 3], [40, 30, 5, 25])
        assert CELL_IMAGES == 20  # so that cell 2 is left out; cell 3 has no held-out images
        first, second = mann_whitney_z(held_out[:10], generated[:40]), mann_whitney_z(held_out[10:40], generated[40:70])
        found = copying_test(held_out, generated, held_out_cells, generated_cells)
        assert found.ct == pytest.approx((10 * first + 30 * second) / 40, rel=1e-12) and found.cells == 2

    def test_without_a_cell_of_enough_images_all_are_one(self, rng: np.random.Generator) -> None:
        held_out, generated = torch.from_numpy(rng.random(6)), torch.from_numpy(rng.random(30))
        found = copying_test(held_out, generated, np.zeros(6, int), np.ones(30, int))
        assert found == (mann_whitney_z(held_out, generated), 0)
        with pytest.raises(ValueError, match="got 0 held out and 30 generated"):
            copying_test(held_out[:0], generated, np.zeros(0, int), np.ones(30, int))

    def test_cells_depend_on_the_features_alone(self, rng: np.random.Generator) -> None:
        real = rng.standard_normal((50, 4)).astype(np.float32)
        labels = fit_cells(real).predict(real)
        np.random.default_rng(5).random()
        assert np.array_equal(labels, fit_cells(torch.from_numpy(real)).predict(real))
        assert fit_cells(real[:2]).n_clusters == 2


def test_copying_is_told_from_generalizing(rng: np.random.Generator) -> None:
    """A generator trained on a half is near that half; one that copies it gives nothing else."""
    real, held_out, fresh = (rng.standard_normal((800, 6)) for _ in range(3))
    copies = real[rng.integers(0, 400, 800)] + rng.standard_normal((800, 6)) * 0.02
    smooth = real[rng.integers(0, 400, 800)] + rng.standard_normal((800, 6)) * 0.5
    far = rng.standard_normal((800, 6)) * 1.5
    authentic = [auth_pct_of(real, points) for points in (copies, smooth, fresh, far)]
    ct = [ct_of(real, held_out, points) for points in (copies, smooth, fresh, far)]
    assert authentic[0] < 2 and 35 < authentic[2] < 55 and authentic == sorted(authentic)
    assert ct[0] < -10 and abs(ct[2]) < 3 and ct[3] > 5 and ct == sorted(ct)
    assert ct[0] + 5 < ct[1] and authentic[0] + 10 < authentic[1]
