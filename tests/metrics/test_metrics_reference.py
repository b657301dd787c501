from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gan.errors import UserError
from gan.metrics.digits import DigitsExtractor
from gan.metrics.feature_pass import ImageStream
from gan.metrics.frechet import frechet_distance
from gan.metrics.moments import FeatureMoments
from gan.metrics.protocol import FEATURE_FIELDS, Protocol, protocol_differences, require_same_protocol
from gan.metrics.reference import (
    load_cached_reference,
    load_statistics,
    reference_cache_folder,
    reference_cache_path,
    save_statistics,
)
from gan.metrics.score import measure_reference

Stream = Callable[..., ImageStream]
Pictures = Callable[..., Tensor]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MSN_GAN_CACHE", str(tmp_path / "cache"))


def like(digits: DigitsExtractor, /, **changes: Any) -> Any:
    """The extractor, but with another protocol."""
    return SimpleNamespace(name=digits.name, dimension=digits.dimension, protocol=replace(digits.protocol, **changes))


class TestStatistics:
    def test_round_trip(self, digits: DigitsExtractor, stream: Stream, pictures: Pictures, tmp_path: Path) -> None:
        reference = measure_reference(stream(pictures(30), name="mine"), digits, cache=False)
        save_statistics(tmp_path / "ref.npz", reference)
        found = load_statistics(tmp_path / "ref.npz")
        assert np.array_equal(found.mean, reference.mean) and np.array_equal(found.covariance, reference.covariance)
        assert (found.count, found.content, found.resolution) == (30, reference.content, "32x32")
        assert found.protocol == digits.protocol
        found.check(digits)
        assert [path.name for path in tmp_path.iterdir()] == ["ref.npz"]

    def test_read_by_pytorch_fid(
        self, digits: DigitsExtractor, stream: Stream, pictures: Pictures, tmp_path: Path
    ) -> None:
        from pytorch_fid.fid_score import compute_statistics_of_path

        reference = measure_reference(stream(pictures(30)), digits, cache=False)
        save_statistics(tmp_path / "ref.npz", reference)
        mu, sigma = compute_statistics_of_path(str(tmp_path / "ref.npz"), None, 1, 64, "cpu")
        np.testing.assert_array_equal(mu, reference.mean)
        np.testing.assert_array_equal(sigma, reference.covariance)

    def test_of_another_program(self, digits: DigitsExtractor, tmp_path: Path) -> None:
        x = np.random.default_rng(0).standard_normal((200, 64))
        np.savez_compressed(tmp_path / "theirs.npz", mu=x.mean(axis=0), sigma=np.cov(x, rowvar=False))
        found = load_statistics(tmp_path / "theirs.npz")
        assert found.protocol is None and found.count is None
        found.check(digits)
        assert frechet_distance(found.mean, found.factor, found.mean, found.factor) == pytest.approx(0, abs=1e-9)

    def test_state_in_torchmetrics(self) -> None:
        fid_module = pytest.importorskip("torchmetrics.image.fid")
        x, y = (np.random.default_rng(seed).standard_normal((300, 16)) + seed for seed in (1, 2))
        ours = []
        identity = torch.nn.Identity()
        identity.num_features = 16  # type: ignore[assignment]
        whole, injected = (fid_module.FrechetInceptionDistance(identity).set_dtype(torch.float64) for _ in range(2))
        for features, side in ((x, "real"), (y, "fake")):
            whole.update(torch.from_numpy(features), real=side == "real")
            moments = FeatureMoments(16)
            moments.update(features)
            ours.append(moments)
            products = moments.covariance * (300 - 1) + 300 * np.outer(moments.mean, moments.mean)
            setattr(injected, f"{side}_features_sum", torch.from_numpy(moments.mean * 300))
            setattr(injected, f"{side}_features_cov_sum", torch.from_numpy(products))
            setattr(injected, f"{side}_features_num_samples", torch.tensor(300))
            expected = getattr(whole, f"{side}_features_cov_sum").numpy()
            np.testing.assert_allclose(products, expected, rtol=1e-12)
        injected.orig_dtype = torch.float64
        with pytest.warns(UserWarning, match="before the ``update`` method"):
            distance = float(injected.compute())
        assert distance == pytest.approx(float(whole.compute()), abs=1e-11)

    @pytest.mark.parametrize(
        ("entries", "words"),
        [
            ({"mu": np.zeros(3)}, "`sigma` is missing, it contains mu"),
            ({"mu": np.zeros(3), "sigma": np.eye(4)}, "do not match"),
            ({"mu": np.zeros((3, 1)), "sigma": np.eye(3)}, "do not match"),
            ({"mu": np.zeros(3), "sigma": np.eye(3) * np.nan}, "not finite"),
            ({"mu": np.full(3, np.inf), "sigma": np.eye(3)}, "not finite"),
            ({"mu": np.zeros(3), "sigma": np.triu(np.ones((3, 3)))}, "not symmetric"),
            ({"mu": np.zeros(3), "sigma": -np.eye(3)}, "negative variances"),
            ({"mu": np.zeros(3), "sigma": np.eye(3), "n": 1}, "statistics of 1 image; "),
            ({"mu": np.zeros(3), "sigma": np.eye(3), "msn_gan": "{"}, "damaged"),
            ({"mu": np.zeros(3), "sigma": np.eye(3), "msn_gan": '{"protocol": {"extractor": "x"}}'}, "damaged"),
            ({"mu": np.array(["a"]), "sigma": np.eye(1)}, "damaged"),
        ],
    )
    def test_bad_numbers(self, tmp_path: Path, entries: dict[str, Any], words: str) -> None:
        np.savez(tmp_path / "bad.npz", **entries)
        with pytest.raises(UserError, match=words) as error:
            load_statistics(tmp_path / "bad.npz")
        assert "bad.npz" in str(error.value) and "\n" not in str(error.value)

    @pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 cut off"])
    def test_bad_files(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "bad.npz").write_bytes(content)
        with pytest.raises(UserError, match="bad.npz"):
            load_statistics(tmp_path / "bad.npz")
        with pytest.raises(UserError, match="cannot be read"):
            load_statistics(tmp_path / "absent.npz")

    def test_pickles_are_not_run(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "bad.npz", mu=np.array([{"a": 1}], dtype=object), sigma=np.eye(1))
        with pytest.raises(UserError, match="damaged"):
            load_statistics(tmp_path / "bad.npz")

    def test_of_another_network(self, digits: DigitsExtractor, tmp_path: Path) -> None:
        np.savez(tmp_path / "inception.npz", mu=np.zeros(2048), sigma=np.eye(2048))
        with pytest.raises(UserError, match="2048 features, but digits has 64"):
            load_statistics(tmp_path / "inception.npz").check(digits)

    @pytest.mark.parametrize(
        ("field", "label", "value"),
        [
            ("preprocess", "preprocessing", "clean"),
            ("precision", "precisions", "bf16"),
            ("weights", "weights", "f" * 64),
            ("layer", "layers", "x"),
            ("engine", "scoring versions", 0),
        ],
    )
    def test_unlike_protocol_is_refused(
        self, digits: DigitsExtractor, stream: Stream, pictures: Pictures, field: str, label: str, value: Any
    ) -> None:
        reference = measure_reference(stream(pictures(8), name="the reference"), digits, cache=False)
        with pytest.raises(UserError, match=rf"the reference .*: different {label}: [^;]* and {str(value)[:12]};"):
            reference.check(like(digits, **{field: value}))


class TestCache:
    def test_second_time_no_network_is_asked(
        self, digits: DigitsExtractor, stream: Stream, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = measure_reference(stream(pictures(20)), digits)
        assert [path.suffix for path in reference_cache_folder().iterdir()] == [".npz"]
        monkeypatch.setattr(DigitsExtractor, "features", None)
        shuffled = pictures(20)[torch.randperm(20)]
        second = measure_reference(stream(shuffled, batch=3, name="elsewhere"), digits)
        assert np.array_equal(first.covariance, second.covariance)
        assert second.name == "elsewhere" and second.content == first.content

    def test_key_holds_all_that_matters(self, digits: DigitsExtractor) -> None:
        paths = {
            reference_cache_path("content", 10, digits),
            reference_cache_path("other", 10, digits),
            reference_cache_path("content", 11, digits),
        }
        for field in FEATURE_FIELDS:
            paths.add(reference_cache_path("content", 10, like(digits, **{field: "other"})))
        assert len(paths) == 3 + len(FEATURE_FIELDS)
        assert reference_cache_path("content", 10, like(digits, device="cuda", batch_size=3)) in paths

    def test_damaged_file_is_replaced(
        self,
        digits: DigitsExtractor,
        stream: Stream,
        pictures: Pictures,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        first = measure_reference(stream(pictures(20)), digits)
        (path,) = reference_cache_folder().iterdir()
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        second = measure_reference(stream(pictures(20)), digits)
        assert np.array_equal(first.covariance, second.covariance)
        assert "computed again" in capsys.readouterr().err
        assert load_statistics(path).content == first.content

    def test_file_under_the_name_of_another_is_not_used(
        self, digits: DigitsExtractor, stream: Stream, pictures: Pictures, capsys: pytest.CaptureFixture[str]
    ) -> None:
        measure_reference(stream(pictures(20)), digits)
        (path,) = reference_cache_folder().iterdir()
        other = reference_cache_path("other", 20, digits)
        path.rename(other)
        assert load_cached_reference(other, "x", None, digits) is None
        assert "its content does not match its name" in capsys.readouterr().err

    def test_failure_leaves_nothing(self, digits: DigitsExtractor, stream: Stream, pictures: Pictures) -> None:
        images = pictures(20)

        def broken() -> Any:
            yield images[:10]
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            measure_reference(ImageStream("broken", 20, broken), digits)
        assert not reference_cache_folder().exists()

    def test_cache_that_cannot_be_written(
        self,
        digits: DigitsExtractor,
        stream: Stream,
        pictures: Pictures,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        (tmp_path / "cache").write_text("a file, not a folder")
        assert measure_reference(stream(pictures(20)), digits).count == 20
        assert "set MSN_GAN_CACHE" in capsys.readouterr().err

    def test_where_it_lies(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        assert reference_cache_folder() == tmp_path / "cache" / "reference"
        monkeypatch.delenv("MSN_GAN_CACHE")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        assert reference_cache_folder() == tmp_path / "xdg" / "msn-gan" / "reference"
        monkeypatch.delenv("XDG_CACHE_HOME")
        assert reference_cache_folder() == Path.home() / ".cache" / "msn-gan" / "reference"

    @pytest.mark.parametrize("chosen", ["", "~/cache", "~nosuchuser/cache"])
    def test_without_a_home_folder(
        self, digits: DigitsExtractor, stream: Stream, pictures: Pictures, monkeypatch: pytest.MonkeyPatch, chosen: str
    ) -> None:
        monkeypatch.setattr(os.path, "expanduser", os.fspath)
        monkeypatch.setenv("MSN_GAN_CACHE", chosen)
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        assert measure_reference(stream(pictures(20)), digits).count == 20
        assert reference_cache_folder() is None


class TestProtocol:
    one = Protocol("inception", "a" * 64, "pool", "clean", "fp32", reference_count=100, generated_count=50, seed=1)

    def test_names_every_unlike_field(self) -> None:
        other = replace(self.one, weights="b" * 64, preprocess="pytorch-fid", generated_count=60, precision="bf16")
        assert protocol_differences(self.one, other) == [
            "weights: aaaaaaaaaaaa and bbbbbbbbbbbb",
            "preprocessing: clean and pytorch-fid",
            "precisions: fp32 and bf16",
            "image counts: 50 and 60",
        ]
        with pytest.raises(UserError, match="run a and run b cannot be compared: different .*; use --mixed-protocols"):
            require_same_protocol(self.one, other, ("run a", "run b"), hint="use --mixed-protocols")

    def test_what_does_not_matter_passes(self) -> None:
        other = replace(self.one, seed=2, device="cuda", batch_size=7, versions={"torch": "9"}, ema=True, reference="x")
        require_same_protocol(self.one, other, ("a", "b"))  # ema: the one does not know
        assert protocol_differences(other, replace(other, ema=False)) == ["EMA: True and False"]

    def test_json(self) -> None:
        record = json.loads(json.dumps(self.one.to_json()))
        assert Protocol.from_json(record | {"of a later version": 1}) == self.one
        with pytest.raises(TypeError, match="weights"):
            Protocol.from_json({"extractor": "x"})


@pytest.mark.parametrize("member", ["encrypted", "of another kind", "no array"])
def test_what_is_no_file_of_statistics(tmp_path: Path, member: str) -> None:
    path = tmp_path / "ref.npz"
    np.savez(path, mu=np.zeros(2), sigma=np.eye(2))
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"PK\x01\x02")  # of the directory; flags at byte 8, the method of compression at byte 10
    content[entry + (8 if member == "encrypted" else 10)] |= 1
    path.write_bytes(content)
    if member == "no array":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("mu", "text")
            archive.writestr("sigma", "text")
    with pytest.raises(UserError, match="ref.npz: not reference statistics, or damaged"):
        load_statistics(path)
