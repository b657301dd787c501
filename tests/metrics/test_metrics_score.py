from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor

from gan.errors import UsageError, UserError
from gan.metrics import score as module
from gan.metrics.digits import DigitsExtractor, load_digits
from gan.metrics.feature_pass import ImageStream, rebatched
from gan.metrics.protocol import Protocol, require_same_protocol
from gan.metrics.reference import load_statistics, save_statistics
from gan.metrics.score import measure_reference, score
from gan.metrics.score_table import DEFAULT_METRICS

Stream = Callable[..., ImageStream]
Pictures = Callable[..., Tensor]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MSN_GAN_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def pair() -> tuple[Tensor, Tensor]:
    """Two halves of the digits, grey, 898 and 899."""
    images, _ = load_digits()
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    return images[order[:898]], images[order[898:]]


def test_speed_by_a_coarse_clock(
    digits: DigitsExtractor, stream: Stream, pair: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """time.monotonic of Windows has steps of 16 ms."""
    monkeypatch.setattr(time, "monotonic", lambda: 0.0)
    assert score(stream(pair[0][:20]), None, digits, ("is",))["images_per_second"] > 0


def test_all_scores(
    digits: DigitsExtractor, stream: Stream, pair: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KID_SUBSETS", 10)
    real, generated = stream(pair[0], name="train"), stream(pair[1], name="test")
    result = score(generated, real, digits, DEFAULT_METRICS, seed=4, ema=True)
    assert result["name"] == "test"
    assert 0 < result["fid"] < 2
    assert 6 < result["inception_score"] < 10 and result["inception_score_std"] > 0
    assert abs(result["kid"]) < 0.05 and result["kid_std"] > 0
    assert result["precision"] > 0.7 and result["recall"] > 0.7
    assert result["images_per_second"] > 0
    assert [line.split(" images")[0] for line in result["warnings"]] == [
        "Inception score from 899",
        "FID from 898",
        "KID over subsets of 898",
    ]
    protocol = Protocol.from_json(json.loads(json.dumps(result["protocol"])))
    assert (protocol.reference_count, protocol.generated_count, protocol.resolution) == (898, 899, "32x32")
    assert (protocol.extractor, protocol.ema, protocol.seed) == ("digits", True, 4)
    assert (protocol.kid_subset_size, protocol.neighbours, protocol.is_splits) == (898, 3, 10)


def test_few_images_and_bf16_are_told(digits: DigitsExtractor, stream: Stream, pair: tuple[Tensor, Tensor]) -> None:
    few = score(stream(pair[1][:100]), stream(pair[0]), digits, ("is", "kid"), cache=False)["warnings"]
    assert few[0].startswith("Inception score from 100 images is biased low: each of its 10 splits has only 10")
    many = stream(torch.cat([pair[1]] * 3)[:2000])
    assert score(many, None, digits, ("is",))["warnings"] == []
    low = SimpleNamespace(**{name: getattr(digits, name) for name in ("name", "hash", "dimension", "classes")})
    low.batch_size, low.features, low.warnings = 100, digits.features, ("its network is odd",)
    low.protocol = replace(digits.protocol, precision="bf16")
    assert score(many, None, low, ("is",))["warnings"] == [
        "its network is odd",
        "scored in bf16: these scores compare with others in bf16 only",
    ]


def test_one_kid_where_a_subset_is_the_whole(
    digits: DigitsExtractor, stream: Stream, pair: tuple[Tensor, Tensor]
) -> None:
    """A hundred subsets of the same images would have a spread of 0 that says nothing."""
    real, generated = (stream(images[:200]) for images in pair)
    result = score(generated, real, digits, ("kid",), cache=False)
    assert result["protocol"]["kid_subsets"] == 1 and result["kid_std"] == 0
    other = score(generated, stream(pair[0][:300]), digits, ("kid",), cache=False)
    assert other["protocol"]["kid_subsets"] == 100 and other["kid_std"] > 0


def test_batches_of_the_caller_change_no_bit(
    digits: DigitsExtractor, stream: Stream, pair: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KID_SUBSETS", 10)
    results = []
    for batch in (1, 100, 10_000):
        real, generated = (stream(images[:300], batch) for images in pair)
        result = score(generated, real, digits, DEFAULT_METRICS)
        results.append({name: result[name] for name in result if name not in ("seconds", "images_per_second")})
    assert results[0] == results[1] == results[2]


def test_order_of_files_does_not_matter(digits: DigitsExtractor, stream: Stream, pair: tuple[Tensor, Tensor]) -> None:
    """But for the Inception score and KID, whose splits and subsets are drawn by position."""
    real, generated = pair
    first = score(stream(generated), stream(real), digits, ("fid", "pr"), cache=False)
    second = score(stream(generated.flip(0)), stream(real.roll(5, 0)), digits, ("fid", "pr"), cache=False)
    assert second["fid"] == pytest.approx(first["fid"], rel=1e-9)
    assert (second["precision"], second["recall"]) == (first["precision"], first["recall"])
    assert second["protocol"] == first["protocol"]


def test_more_blur_larger_fid(digits: DigitsExtractor, stream: Stream, pair: tuple[Tensor, Tensor]) -> None:
    real, generated = pair
    reference = measure_reference(stream(real), digits)
    blurred = [generated] + [
        torchvision.transforms.functional.gaussian_blur(generated, [13, 13], [sigma, sigma]) for sigma in (1, 2, 3, 4)
    ]
    values = [score(stream(images), reference, digits, ("fid",))["fid"] for images in blurred]
    assert values == sorted(values) and values[-1] > 10 * values[0]


def test_collapse_and_noise(digits: DigitsExtractor, stream: Stream, pair: tuple[Tensor, Tensor]) -> None:
    real, other = pair
    noise = torch.randint(0, 256, (2000, 1, 32, 32), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    collapsed = score(stream(other[:1].repeat(200, 1, 1, 1)), stream(real), digits, ("pr",))
    assert collapsed["precision"] == 1 and collapsed["recall"] < 0.05
    superset = score(stream(torch.cat((real, noise))), stream(real), digits, ("pr",))
    assert superset["precision"] < 0.5 and superset["recall"] == 1


def test_same_images_score_zero(digits: DigitsExtractor, stream: Stream, pair: tuple[Tensor, Tensor]) -> None:
    result = score(stream(pair[0]), stream(pair[0]), digits, ("fid", "pr"))
    assert result["fid"] == pytest.approx(0, abs=1e-6)
    assert (result["precision"], result["recall"]) == (1, 1)


def test_grey_images_are_scored_as_rgb(digits: DigitsExtractor, stream: Stream, pair: tuple[Tensor, Tensor]) -> None:
    grey, colour = pair[1][:50], pair[1][:50].expand(-1, 3, -1, -1)
    results = [score(stream(images), stream(pair[0]), digits)["fid"] for images in (grey, colour)]
    assert results[0] == results[1]


def test_inception_score_needs_no_real_images(
    digits: DigitsExtractor, stream: Stream, pair: tuple[Tensor, Tensor]
) -> None:
    result = score(stream(pair[1]), None, digits, ("is",))
    assert result["inception_score"] > 6 and "fid" not in result and result["protocol"]["reference"] is None


def test_saved_statistics_give_the_same_fid(
    digits: DigitsExtractor, stream: Stream, pair: tuple[Tensor, Tensor], tmp_path: Path
) -> None:
    direct = score(stream(pair[1]), stream(pair[0]), digits)
    save_statistics(tmp_path / "ref.npz", measure_reference(stream(pair[0]), digits))
    loaded = score(stream(pair[1]), load_statistics(tmp_path / "ref.npz"), digits)
    assert loaded["fid"] == direct["fid"]
    first, second = (Protocol.from_json(result["protocol"]) for result in (direct, loaded))
    require_same_protocol(first, second, ("direct", "loaded"))


def test_foreign_statistics_are_labelled(
    digits: DigitsExtractor, stream: Stream, pair: tuple[Tensor, Tensor], tmp_path: Path
) -> None:
    reference = measure_reference(stream(pair[0]), digits)
    np.savez(tmp_path / "theirs.npz", mu=reference.mean, sigma=reference.covariance)
    result = score(stream(pair[1]), load_statistics(tmp_path / "theirs.npz"), digits, ("fid",))
    assert any("preprocessing is unknown" in line for line in result["warnings"])


def test_first_images_of_an_endless_stream(digits: DigitsExtractor, pair: tuple[Tensor, Tensor]) -> None:
    def endless() -> Iterator[Tensor]:
        while True:
            yield pair[1][:9]

    batches = list(rebatched(ImageStream("endless", 25, endless), 10))
    assert [len(batch) for batch in batches] == [10, 10, 5]
    assert all(batch.shape[1:] == (3, 32, 32) for batch in batches)
    assert torch.equal(torch.cat(batches)[:, :1], pair[1][:9].repeat(3, 1, 1, 1)[:25])


class TestBadInput:
    def test_too_few(self, digits: DigitsExtractor, stream: Stream, pictures: Pictures) -> None:
        many = stream(pictures(20))
        with pytest.raises(UserError, match="lonely: 1 image; the Inception score needs at least 10"):
            score(stream(pictures(1), name="lonely"), many, digits)
        with pytest.raises(UserError, match="lonely: 1 image; a score needs at least 2"):
            score(many, stream(pictures(1), name="lonely"), digits)
        with pytest.raises(UserError, match="9 images; the Inception score needs at least 10"):
            score(stream(pictures(9)), many, digits)
        with pytest.raises(UserError, match="3 images; --metrics pr needs at least 6"):
            score(many, stream(pictures(3)), digits, ("pr",))
        assert score(stream(pictures(2)), many, digits, ("fid",))["fid"] > 0

    def test_sizes(self, digits: DigitsExtractor, stream: Stream, pictures: Pictures) -> None:
        def mixed() -> Iterator[Tensor]:
            yield pictures(5)
            yield pictures(5, 48)

        with pytest.raises(UserError, match="mixed: .*: 32x32 and, from image 6 on, 48x48"):
            score(ImageStream("mixed", 10, mixed), stream(pictures(20)), digits)
        with pytest.raises(UserError, match="large has images of 48x48 pixels, small of 32x32"):
            score(stream(pictures(20, 48), name="large"), stream(pictures(20), name="small"), digits)

    def test_stream_that_ends_early(self, digits: DigitsExtractor, pictures: Pictures) -> None:
        short = ImageStream("short", 30, lambda: iter([pictures(20)]))
        with pytest.raises(UserError, match="short: there are only 20 images, 30 are to be scored"):
            score(short, None, digits, ("is",))

    def test_metrics(self, digits: DigitsExtractor, stream: Stream, pictures: Pictures) -> None:
        images = stream(pictures(20))
        with pytest.raises(UsageError, match="--metrics fdi: no such metric; choose from fid, is, kid, pr"):
            score(images, images, digits, ("fid", "fdi"))
        with pytest.raises(UsageError, match="no such metric"):
            score(images, images, digits, ())
        with pytest.raises(UsageError, match="needs real images"):
            score(images, None, digits)
        with pytest.raises(UsageError, match="kid, pr and copies need the real images"):
            score(images, measure_reference(images, digits), digits, ("kid",))

    def test_features_that_are_not_finite(
        self, digits: DigitsExtractor, stream: Stream, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def features(self: DigitsExtractor, images: Tensor) -> tuple[Tensor, Tensor]:
            x = torch.zeros(len(images), 64)
            x[12, 3] = torch.nan
            return x, torch.zeros(len(images), 10)

        monkeypatch.setattr(DigitsExtractor, "features", features)
        with pytest.raises(UserError, match="broken: the digits extractor outputs NaN or infinity for image 13"):
            score(stream(pictures(20), name="broken"), None, digits, ("is",))

    def test_no_room_for_features(
        self, digits: DigitsExtractor, stream: Stream, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def write(content: bytes) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("tempfile.TemporaryFile", lambda **options: SimpleNamespace(write=write))
        with pytest.raises(UserError, match="No space left on device.*set TMPDIR"):
            score(stream(pictures(20)), stream(pictures(20)), digits, ("pr",))

    def test_batches_of_another_kind(self, digits: DigitsExtractor, stream: Stream, pictures: Pictures) -> None:
        for images in (pictures(20).float(), pictures(20, channels=4), pictures(20)[:, 0]):
            with pytest.raises(ValueError, match="uint8"):
                score(stream(images), None, digits, ("is",))


def test_fid_infinity_needs_no_features_of_the_real_images(
    digits: DigitsExtractor, stream: Stream, pair: tuple[Tensor, Tensor], tmp_path: Path
) -> None:
    """Statistics of a file are enough; too few images for the features are told."""
    real = measure_reference(stream(pair[0]), digits, cache=False)
    assert real.features is None
    save_statistics(tmp_path / "real.npz", real)
    result = score(stream(pair[1]), load_statistics(tmp_path / "real.npz"), digits, ("fid", "fid-infinity"))
    assert 0 < result["fid_infinity_interval"] < result["fid"]
    assert result["fid_infinity"] < result["fid"]
    assert Protocol.from_json(result["protocol"]).fid_infinity_subsets == 15
    few = score(stream(pair[1][:100]), real, digits, ("fid-infinity",))["warnings"]
    assert few[-1].startswith("FID∞ from 100 images is not unbiased: its smallest subset, 50 images")
    with pytest.raises(UserError, match="3 images; FID∞ needs at least 4"):
        score(stream(pair[1][:3]), real, digits, ("fid-infinity",))
