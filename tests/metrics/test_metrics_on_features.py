"""Inception score, kernel distance, precision and recall, on features alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torchmetrics.image.kid import poly_mmd

from gan.metrics import kid
from gan.metrics.inception_score import InceptionScore
from gan.metrics.kid import kernel_distance
from gan.metrics.precision_recall import manifold_scores, nearest_distances, precision_recall

_NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def logits(count: int, scale: float = 2.0) -> np.ndarray:
    return np.random.default_rng(count).standard_normal((count, 30)).astype(np.float32) * scale


def inception_score(rows: np.ndarray, **options: Any) -> tuple[float, float]:
    score = InceptionScore(*rows.shape, **options)
    score.update(rows)
    return score.result()


class TestInceptionScore:
    @pytest.mark.parametrize(("count", "scale"), [(100, 2.0), (103, 2.0), (103, 300.0), (10, 2.0)])
    @pytest.mark.parametrize("shuffle", [True, False])
    def test_agrees_with_torch_fidelity(self, count: int, shuffle: bool, scale: float) -> None:
        metric = pytest.importorskip("torch_fidelity.metric_isc", reason="torch-fidelity is not installed")
        x = logits(count, scale)
        theirs = metric.isc_features_to_metric(torch.from_numpy(x), splits=10, shuffle=shuffle, rng_seed=2020)
        mean, std = inception_score(x, splits=10, shuffle=shuffle, seed=2020)
        assert mean == pytest.approx(theirs[metric.KEY_METRIC_ISC_MEAN], rel=1e-12)
        assert std == pytest.approx(theirs[metric.KEY_METRIC_ISC_STD], rel=1e-12, abs=1e-12)

    def test_streamed_in_any_batches(self) -> None:
        x = logits(57)
        score = InceptionScore(57, 30, seed=3)
        for start in range(0, 57, 4):
            score.update(x[start : start + 4])
        assert score.result() == inception_score(x, seed=3)

    def test_large_seeds(self) -> None:
        x = logits(57)
        assert inception_score(x, seed=2**32 + 3) == inception_score(x, seed=3) != inception_score(x, seed=4)

    def test_known_values(self) -> None:
        sure = np.tile(np.eye(5, dtype=np.float32) * 1e4, (4, 1))  # four images of each class, no doubt about any
        assert inception_score(sure, splits=2, shuffle=False) == (pytest.approx(5), pytest.approx(0))
        assert inception_score(np.zeros((20, 5)), splits=2)[0] == pytest.approx(1)

    def test_probabilities_that_underflow(self) -> None:
        mean, std = inception_score(np.array([[0, -1e4], [0, -2e4]] * 5), splits=1)
        assert (mean, std) == (1, 0)

    def test_wrong_numbers_of_images(self) -> None:
        with pytest.raises(ValueError, match="9 images cannot be divided into 10 splits"):
            inception_score(logits(9))
        score = InceptionScore(20, 30)
        score.update(logits(19))
        with pytest.raises(ValueError, match="19 images instead of 20"):
            score.result()
        with pytest.raises(ValueError, match="more than 20"):
            score.update(logits(2))


class TestKernelDistance:
    def features(self, seed: int, count: int = 120) -> np.ndarray:
        return np.abs(np.random.default_rng(seed).standard_normal((count, 32))) + 0.2 * (seed % 2)

    @pytest.mark.parametrize(("subsets", "size"), [(1, 120), (5, 50)])
    def test_agrees_with_torch_fidelity(self, subsets: int, size: int) -> None:
        metric = pytest.importorskip("torch_fidelity.metric_kid", reason="torch-fidelity is not installed")
        real, generated = self.features(0), self.features(1)
        theirs = metric.kid_features_to_metric(
            torch.from_numpy(generated),
            torch.from_numpy(real),
            kid_subsets=subsets,
            kid_subset_size=size,
            rng_seed=7,
            verbose=False,
        )
        mean, std = kernel_distance(real, generated, subsets=subsets, subset_size=size, seed=7)
        assert mean == pytest.approx(theirs[metric.KEY_METRIC_KID_MEAN], abs=1e-12)
        assert std == pytest.approx(theirs[metric.KEY_METRIC_KID_STD], abs=1e-12)
        assert mean > 0.01

    @pytest.mark.parametrize("block", [2**23, 1000])
    def test_all_pairs_give_the_estimates_of_the_subsets(self, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
        """Small sets are estimated from the kernels of all pairs, large ones subset by subset."""
        real, generated = self.features(0)[:90], self.features(1)[:70]
        told: list[int] = []
        monkeypatch.setattr(kid, "_BLOCK_KERNELS", block)
        few = [kernel_distance(real, generated, subsets=1, subset_size=50, seed=seed)[0] for seed in (3,)]
        many = kernel_distance(real, generated, subsets=40, subset_size=50, seed=3, advance=told.append)
        values: list[float] = []
        draw = np.random.RandomState(3)
        for _ in range(40):
            x, y = (torch.from_numpy(rows[draw.choice(len(rows), 50, replace=False)]) for rows in (generated, real))
            values.append(float(poly_mmd(x.double(), y.double())))
        assert many == pytest.approx((np.mean(values), np.std(values)), rel=1e-12)
        assert few == pytest.approx(values[:1], rel=1e-12) and sum(told) == 40

    def test_large_seeds(self) -> None:
        sets = self.features(0), self.features(1)
        first, second = (kernel_distance(*sets, subsets=2, subset_size=50, seed=seed) for seed in (2**40 + 3, 3))
        assert first == second

    def test_unbiased(self) -> None:
        """Of two sets from one distribution it is 0 on average, below it as often as above."""
        values = [
            kernel_distance(self.features(2 * n, 30), self.features(2 * n + 100, 30), subsets=1, subset_size=30)[0]
            for n in range(40)
        ]
        assert min(values) < 0 < max(values)
        assert abs(np.mean(values)) < 3 * np.std(values) / 40**0.5

    def test_bad_sizes(self) -> None:
        x = self.features(0)
        with pytest.raises(ValueError, match="subsets of 121"):
            kernel_distance(x, x, subset_size=121)
        with pytest.raises(ValueError, match="subsets of 1 "):
            kernel_distance(x, x, subset_size=1)
        with pytest.raises(ValueError, match="32 real, 31 generated"):
            kernel_distance(x, x[:, 1:], subset_size=10)


class TestPrecisionRecall:
    @pytest.mark.parametrize("count", [50, 2200])
    def test_agrees_with_torch_fidelity(self, count: int) -> None:
        metric = pytest.importorskip("torch_fidelity.metric_prc", reason="torch-fidelity is not installed")
        rng = np.random.default_rng(count)
        real, generated = rng.standard_normal((count, 8)), rng.standard_normal((count + 30, 8)) * 0.7 + 0.3
        theirs = metric.prc_features_to_metric(
            torch.from_numpy(generated), torch.from_numpy(real), prc_neighborhood=3, verbose=False
        )
        precision, recall = precision_recall(real, generated)
        # They sum in float32.
        assert precision == pytest.approx(theirs[metric.KEY_METRIC_PRECISION], rel=1e-6)
        assert recall == pytest.approx(theirs[metric.KEY_METRIC_RECALL], rel=1e-6)
        assert 0.1 < recall < precision < 1

    def test_agrees_with_plain_loops(self) -> None:
        rng = np.random.default_rng(5)
        real, generated = rng.standard_normal((40, 3)), rng.standard_normal((30, 3)) * 1.5

        def share_within(points: np.ndarray, manifold: np.ndarray) -> float:
            radii = [sorted(np.linalg.norm(manifold - centre, axis=1))[3] for centre in manifold]
            inside = [
                any(np.linalg.norm(point - c) <= r for c, r in zip(manifold, radii, strict=True)) for point in points
            ]
            return float(np.mean(inside))

        assert precision_recall(real, generated) == (share_within(generated, real), share_within(real, generated))

    @pytest.mark.parametrize("count", [4, 7, 16, 17, 24, 30])
    def test_distances_whatever_the_number_of_blocks(self, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("gan.metrics.precision_recall._BLOCK", 8)
        points = np.random.default_rng(0).normal(size=(count, 5))
        distances = np.linalg.norm(points[:, None] - points, axis=2)
        rows: list[int] = []
        found = nearest_distances(points, 3, advance=rows.append)
        np.testing.assert_allclose(found.sqrt().numpy(), np.sort(distances, axis=1)[:, 1:4], rtol=1e-12)
        assert sum(rows) == count

    @pytest.mark.parametrize("k", [3, 5])
    @pytest.mark.parametrize("count", [60, 1500])
    def test_agrees_with_the_authors_package(self, count: int, k: int) -> None:
        prdc = pytest.importorskip("prdc", reason="prdc is not installed")
        rng = np.random.default_rng(count)
        real, generated = rng.standard_normal((count, 8)), rng.standard_normal((count + 30, 8)) * 0.8 + 0.2
        theirs = prdc.compute_prdc(real, generated, nearest_k=k)
        ours = manifold_scores(real, generated, neighbours=k, density_neighbours=k)._asdict()
        for name, value in theirs.items():
            assert ours[name] == pytest.approx(value, rel=1e-12), name
        assert ours["density"] != ours["coverage"]

    def test_density_and_coverage_ignore_outliers_among_generated_images(self) -> None:
        """Their reason to exist: outliers inflate the generated manifold, and so recall, but no real ball."""
        rng = np.random.default_rng(10)
        real, mode = rng.standard_normal((400, 4)), rng.standard_normal((380, 4)) * 0.05
        plain = manifold_scores(real, mode)
        outliers = manifold_scores(real, np.concatenate((mode, rng.uniform(-8, 8, (20, 4)))))
        assert outliers.recall > plain.recall + 0.5 and outliers.coverage < plain.coverage + 0.1

    def test_images_of_the_same_distribution(self) -> None:
        rng = np.random.default_rng(11)
        found = manifold_scores(rng.standard_normal((900, 6)), rng.standard_normal((900, 6)))
        assert found.density == pytest.approx(1, abs=0.1)
        assert found.coverage == pytest.approx(1 - 2**-5, abs=0.02)  # 1 - P(the 5 nearest of 2 N images are all real)

    def test_known_nearest_distances_give_the_same(self) -> None:
        rng = np.random.default_rng(12)
        real, generated = rng.standard_normal((90, 5)), rng.standard_normal((70, 5))
        rows: list[int] = []
        nearest = nearest_distances(real, 7)
        assert manifold_scores(real, generated, real_nearest=nearest, advance=rows.append) == manifold_scores(
            real, generated
        )
        assert sum(rows) == 90 + 70

    def test_precision_and_recall_are_not_swapped(self) -> None:
        rng = np.random.default_rng(6)
        real = rng.standard_normal((400, 6))
        collapsed = real[:1] + rng.standard_normal((400, 6)) * 0.05  # one mode, all of it real
        precision, recall = precision_recall(real, collapsed)
        assert precision > 0.95 and recall < 0.05
        noisy_superset = np.concatenate((real, rng.uniform(-9, 9, (1200, 6))))
        precision, recall = precision_recall(real, noisy_superset)
        assert precision < 0.5 and recall == 1

    def test_equal_images_are_at_distance_zero(self) -> None:
        rng = np.random.default_rng(7)
        one = rng.standard_normal(2048) * 30
        assert precision_recall(np.tile(one, (9, 1)), np.tile(one, (12, 1))) == (1, 1)
        assert precision_recall(np.tile(one, (9, 1)), np.tile(one + 1e-4, (12, 1))) == (0, 0)

    def test_order_of_images_does_not_matter(self) -> None:
        rng = np.random.default_rng(8)
        real, generated = rng.standard_normal((90, 5)), rng.standard_normal((70, 5))
        shuffled = precision_recall(rng.permutation(real), rng.permutation(generated))
        assert precision_recall(real, generated) == shuffled

    @pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=_NEEDS_CUDA)])
    def test_features_that_lie_on_a_device(self, device: str) -> None:
        rng = np.random.default_rng(9)
        real, generated = (rng.standard_normal((count, 5)).astype(np.float32) for count in (90, 70))
        there = (torch.from_numpy(features).to(device) for features in (real, generated))
        assert precision_recall(*there, device=device) == precision_recall(real, generated)
        assert precision_recall(real, generated, device=device) == precision_recall(real, generated)

    def test_bad_sizes(self) -> None:
        with pytest.raises(ValueError, match="3 neighbours need more images"):
            precision_recall(np.ones((3, 2)), np.ones((9, 2)))
        with pytest.raises(ValueError, match="5 neighbours need more images than 5 real"):
            manifold_scores(np.ones((5, 2)), np.ones((9, 2)))
        with pytest.raises(ValueError, match="2 real, 3 generated"):
            precision_recall(np.ones((9, 2)), np.ones((9, 3)))
