from __future__ import annotations

import hashlib
import io
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import pytorch_fid.inception
import torch
from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor

from gan.errors import UsageError, UserError
from gan.experiments.classify.config import ClassifyConfig
from gan.metrics import inception_weights as weights
from gan.metrics.extractor import Extractor, ExtractorOptions
from gan.metrics.extractors import create_extractor
from gan.metrics.inception_extractor import inception_network
from gan.metrics.inception_weights import SHA256, locate_inception_weights
from gan.metrics.preprocess import PREPROCESS

COUNT = 2

Make = Callable[..., Extractor]


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def images(pictures: Callable[..., Tensor]) -> Tensor:
    return pictures(COUNT)


def with_pytorch_fid(path: Path, images: Tensor) -> Tensor:
    """pytorch-fid's own pool features (N, 2048)."""
    with pytest.MonkeyPatch.context() as patch:
        state = torch.load(path, weights_only=True)
        patch.setattr(pytorch_fid.inception, "load_state_dict_from_url", lambda *args, **options: state)
        network = pytorch_fid.inception.InceptionV3([3]).eval()
    return network(images.float() / 255)[0].flatten(1)


def with_torch_fidelity(path: Path, images: Tensor) -> tuple[Tensor, Tensor]:
    """torch-fidelity's own pool features (N, 2048) and logits without bias (N, 1008)."""
    module = pytest.importorskip(
        "torch_fidelity.feature_extractor_inceptionv3", reason="torch-fidelity is not installed"
    )
    network = module.FeatureExtractorInceptionV3("inception-v3-compat", ["2048", "logits_unbiased"], str(path))
    return network(images)


@pytest.fixture(scope="module")
def plain(inception_weights: Path) -> nn.Module:
    """Our network before batch norms are folded and channels put last: preprocessed images to {"pool": (N, 2048)}."""
    return create_feature_extractor(inception_network(inception_weights), {"flatten": "pool"}).eval()


def test_pool_is_that_of_pytorch_fid(
    inception: Make, plain: nn.Module, inception_weights: Path, images: Tensor
) -> None:
    theirs = with_pytorch_fid(inception_weights, images)
    assert theirs.std(dim=1).min() > 0.1  # the random network has something to say
    assert torch.equal(plain(PREPROCESS["pytorch-fid"](images))["pool"], theirs)
    pool, _ = inception("pytorch-fid").features(images)
    torch.testing.assert_close(pool, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_pool_and_logits_are_those_of_torch_fidelity(
    inception: Make, plain: nn.Module, inception_weights: Path, images: Tensor
) -> None:
    their_pool, their_logits = with_torch_fidelity(inception_weights, images)
    assert torch.equal(plain(PREPROCESS["torch-fidelity"](images))["pool"], their_pool)
    pool, logits = inception("torch-fidelity").features(images)
    torch.testing.assert_close(pool, their_pool, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(logits, their_logits, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_pool_is_that_of_torchmetrics(inception: Make, inception_weights: Path, images: Tensor) -> None:
    pytest.importorskip("torch_fidelity", reason="torchmetrics' Inception is torch-fidelity's, which is not installed")
    from torchmetrics.image.fid import NoTrainInceptionV3

    network = NoTrainInceptionV3("inception-v3-compat", ["2048"], str(inception_weights))
    theirs = network(images)
    torch.testing.assert_close(inception("clean").features(images)[0], theirs, rtol=0, atol=1e-4)


@pytest.mark.slow
def test_folding_and_channels_last_cost_no_accuracy(inception: Make, plain: nn.Module, images: Tensor) -> None:
    """About as far from the float64 features as pytorch-fid's own order of computing is."""
    x = PREPROCESS["pytorch-fid"](images[:1])
    theirs = plain(x)["pool"]
    exact = plain.double()(x.double())["pool"]
    plain.float()
    assert (inception().features(images[:1])[0] - exact).norm() < 3 * (theirs - exact).norm()


@pytest.mark.slow
def test_preprocessing_rules_differ(inception: Make, images: Tensor) -> None:
    pools = [inception(name).features(images)[0] for name in PREPROCESS]
    assert all((a - b).abs().max() > 1e-2 for a, b in zip(pools, pools[1:] + pools[:1], strict=True))


@pytest.mark.parametrize("size", [(8, 8), (32, 20), (299, 299), (400, 310)])
def test_ranges_of_preprocessing(size: tuple[int, int]) -> None:
    images = torch.randint(0, 256, (2, 3, *size), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    for name, preprocess in PREPROCESS.items():
        x = preprocess(images)
        assert x.shape == (2, 3, 299, 299) and x.dtype == torch.float32
        assert -1 <= x.min() < -0.5 and 0.5 < x.max() <= 1, name
    grey = torch.full((1, 3, *size), 128, dtype=torch.uint8)
    for name, value in (("pytorch-fid", 2 * 128 / 255 - 1), ("torch-fidelity", 0.0), ("clean", 0.0)):
        assert (PREPROCESS[name](grey) - value).abs().max() < 1e-6, name


def test_resizing_of_tensorflow_to_the_bit() -> None:
    module = pytest.importorskip(
        "torch_fidelity.interpolate_compat_tensorflow", reason="torch-fidelity is not installed"
    )
    images = torch.randint(0, 256, (2, 3, 47, 330), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    resized = module.interpolate_bilinear_2d_like_tensorflow1x(images.float(), (299, 299), align_corners=False)
    assert torch.equal(PREPROCESS["torch-fidelity"](images), (resized - 128) / 128)


@pytest.mark.slow
def test_bf16_is_recorded_and_near(inception: Make, images: Tensor) -> None:
    exact, rough = inception(), inception("pytorch-fid", "bf16")
    assert (exact.protocol.precision, rough.protocol.precision) == ("fp32", "bf16")
    pool, _ = rough.features(images)
    assert pool.dtype == torch.float32
    distance = (pool - exact.features(images)[0]).norm() / pool.norm()
    assert 1e-4 < distance < 0.1


@pytest.mark.slow
def test_number_in_a_batch_changes_little(
    inception: Make, pictures: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    images = pictures(3)
    together = inception().features(images)
    monkeypatch.setattr(inception(), "batch_size", 2)
    apart = inception().features(images)  # 2 and 1
    for part, whole in zip(apart, together, strict=True):
        torch.testing.assert_close(part, whole, rtol=1e-5, atol=1e-5)


def test_loading_leaves_the_random_stream_alone(inception_weights: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    inception_network(inception_weights)
    assert torch.equal(torch.rand(3), expected)


def test_protocol_names_the_weights(inception: Make, inception_weights: Path) -> None:
    extractor = inception()
    assert extractor.hash == extractor.protocol.weights == hashlib.sha256(inception_weights.read_bytes()).hexdigest()
    assert extractor.hash != SHA256
    assert {"torch", "torchvision", "pytorch-fid"} <= set(extractor.protocol.versions)


class TestBadWeights:
    @pytest.fixture(autouse=True)
    def _empty_hub(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
        monkeypatch.delenv("MSN_GAN_INCEPTION", raising=False)
        monkeypatch.setattr(weights, "SHA256", SHA256)

    def answer(self, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
        monkeypatch.setattr(urllib.request, "urlopen", lambda *args, **options: io.BytesIO(content))

    def no_network(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*args: object, **options: object) -> None:
            raise urllib.error.URLError("Network is unreachable")

        monkeypatch.setattr(urllib.request, "urlopen", refuse)

    def expect(self, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
        """Make this content the published file."""
        monkeypatch.setattr(weights, "SHA256", hashlib.sha256(content).hexdigest())

    def test_no_network(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        self.no_network(monkeypatch)
        with pytest.raises(UserError) as error:
            locate_inception_weights()
        text = str(error.value)
        assert "https://github.com/mseitzer/pytorch-fid/releases" in text  # where to get it
        assert str(tmp_path / "hub" / "checkpoints") in text and "MSN_GAN_INCEPTION=FILE" in text  # where to put it
        assert "\n" not in text
        assert list((tmp_path / "hub" / "checkpoints").iterdir()) == []

    @pytest.mark.parametrize(
        "data, advice",
        [
            ("cifar10", "classify features --data cifar10 --norms bn, then --features classifier:"),
            ("my cats.zip", "classify features --data 'my cats.zip' --test-data TEST-SET --norms bn, then --features "),
            (None, "classify features --data SET --test-data TEST-SET --norms bn, then --features classifier:"),
            ("digits", "--features digits needs no weights"),
        ],
    )
    def test_what_works_without_the_weights(
        self, monkeypatch: pytest.MonkeyPatch, data: str | None, advice: str
    ) -> None:
        self.no_network(monkeypatch)
        with pytest.raises(UserError) as error:
            create_extractor(ExtractorOptions("inception"), data)
        text = str(error.value)
        assert "\n" not in text and advice in text
        assert "--features-weights" not in text  # `train` and `compare` do not have it
        if data != "digits":
            training = next(ClassifyConfig.from_dict({"norms": ["bn"]}).trainings())
            assert text.endswith(f"classifier:checkpoints/features/{training.name}/classifier.pt")
            assert "--features digits" not in text  # they mean nothing for photos

    def test_download(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        self.expect(monkeypatch, b"published")
        self.answer(monkeypatch, b"published")
        found = locate_inception_weights()
        assert found.path.read_bytes() == b"published"
        assert found.path.parent == tmp_path / "hub" / "checkpoints"
        self.no_network(monkeypatch)
        assert locate_inception_weights() == found  # not fetched again

    def test_download_of_something_else_leaves_nothing(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        self.answer(monkeypatch, b"<html>log in to the airport's network</html>")
        with pytest.raises(UserError, match="the download is not the Inception weights"):
            locate_inception_weights()
        assert list((tmp_path / "hub" / "checkpoints").iterdir()) == []

    def test_wrong_file_in_the_cache(self, tmp_path: Path) -> None:
        path = tmp_path / "hub" / "checkpoints" / weights.FILE_NAME
        path.parent.mkdir(parents=True)
        path.write_bytes(b"cut off")
        with pytest.raises(UserError, match="delete it") as error:
            locate_inception_weights(allow_other_weights=True)  # meant for a file that is named, not for this one
        assert str(path) in str(error.value)

    def test_file_named_by_flag_or_variable(
        self, inception_weights: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        with pytest.raises(UserError, match="give the published file"):
            locate_inception_weights(inception_weights)
        assert locate_inception_weights(inception_weights, allow_other_weights=True).sha256 != SHA256
        with pytest.raises(UserError, match="--features-weights .*absent.pth: no such file"):
            locate_inception_weights(tmp_path / "absent.pth")
        monkeypatch.setenv("MSN_GAN_INCEPTION", str(tmp_path / "gone.pth"))
        with pytest.raises(UserError, match="MSN_GAN_INCEPTION .*gone.pth: no such file"):
            locate_inception_weights()
        self.expect(monkeypatch, b"published")
        (tmp_path / "gone.pth").write_bytes(b"published")
        assert locate_inception_weights().path == tmp_path / "gone.pth"

    @pytest.mark.parametrize("kind", ["text", "list", "another network"])
    def test_file_of_something_else(self, tmp_path: Path, kind: str) -> None:
        path = tmp_path / "other.pth"
        if kind == "text":
            path.write_text("hello")
        else:
            torch.save([1, 2] if kind == "list" else nn.Linear(2, 2).state_dict(), path)
        with pytest.raises(UserError, match="does not hold the weights"):
            create_extractor(ExtractorOptions("inception", weights=path, allow_other_weights=True))


def test_unknown_choices(inception_weights: Path) -> None:
    with pytest.raises(UsageError, match="--features vgg: .* inception, digits"):
        create_extractor(ExtractorOptions("vgg"))
    with pytest.raises(UsageError, match="--preprocess cleanest: .* pytorch-fid, torch-fidelity, clean"):
        create_extractor(ExtractorOptions("inception", preprocess="cleanest"))
    with pytest.raises(UsageError, match="--precision fp8: .* fp32 and bf16 only"):
        create_extractor(ExtractorOptions("inception", precision="fp8"))
    with pytest.raises(UsageError, match="digits features are computed in fp32 only"):
        create_extractor(ExtractorOptions("digits", precision="bf16"))


def test_folding_leaves_no_batch_norm(inception: Make) -> None:
    trunk = inception()._trunk  # type: ignore[attr-defined]
    assert not any(isinstance(module, nn.BatchNorm2d) for module in trunk.modules())
    assert np.prod(trunk.get_parameter("Mixed_7c.branch1x1.conv.weight").shape) == 320 * 2048
