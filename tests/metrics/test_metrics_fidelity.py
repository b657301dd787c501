"""DINOv2 and CLIP features, held to torch-fidelity. The networks are random, in files like the published ones."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import urllib.request
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gan.errors import UsageError, UserError
from gan.metrics import fidelity_extractor
from gan.metrics.dinov2_network import SIZES, Dinov2, Dinov2Size, load_dinov2
from gan.metrics.extractor import Extractor, ExtractorOptions
from gan.metrics.extractors import create_extractor
from gan.metrics.feature_pass import ImageStream
from gan.metrics.score import score
from gan.metrics.score_checks import available_metrics
from gan.metrics.weights_file import locate_weights
from gan.utils import optional_packages

torch_fidelity = pytest.importorskip("torch_fidelity", reason="torch-fidelity is not installed")
feature_extractor_clip = pytest.importorskip("torch_fidelity.feature_extractor_clip", reason="needs torch-fidelity 0.4")
metric_kid = pytest.importorskip("torch_fidelity.metric_kid")
feature_extractor_dinov2 = pytest.importorskip("torch_fidelity.feature_extractor_dinov2")

Pictures = Callable[..., Tensor]
TINY = Dinov2Size("ViT-tiny", 24, 2, 3)


@pytest.fixture(autouse=True)
def _no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(urllib.request, "urlopen", no_network)
    for name in ("MSN_GAN_DINOV2", "MSN_GAN_CLIP"):
        monkeypatch.delenv(name, raising=False)


def write_dinov2(path: Path, size: Dinov2Size) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Dinov2(size)
        for name, parameter in network.named_parameters():
            if "gamma" not in name and "norm" not in name:
                nn.init.normal_(parameter, std=2 * parameter[0].numel() ** -0.5)
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def dinov2_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file like that of ViT-S/14."""
    return write_dinov2(tmp_path_factory.mktemp("weights") / "dinov2_vits14_pretrain.pth", SIZES["s"])


@pytest.fixture(scope="module")
def clip_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file like that of ViT-B/32, a TorchScript archive in half precision; of 2 blocks and 32 features."""
    return write_clip(tmp_path_factory.mktemp("weights") / "ViT-B-32.pt", patch=32)


def write_clip(path: Path, patch: int) -> Path:
    class Clip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.visual = feature_extractor_clip.VisionTransformer(224, patch, 768, 2, 12, output_dim=32)
            self.transformer = nn.Linear(2, 2)  # of the text, as are the others
            self.ln_final = nn.LayerNorm(2)
            self.token_embedding = nn.Embedding(2, 2)
            self.text_projection = nn.Parameter(torch.zeros(2, 32))
            self.positional_embedding = nn.Parameter(torch.zeros(2, 2))
            self.logit_scale = nn.Parameter(torch.zeros(()))

        def forward(self, images: Tensor) -> Tensor:
            features: Tensor = self.visual(images)
            return features

    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated
        torch.manual_seed(0)
        network = Clip().eval()
        torch.jit.save(torch.jit.trace(network, torch.zeros(1, 3, 224, 224), check_trace=False), path)
    return path


def dinov2(path: Path, features: str = "dinov2:s") -> Extractor:
    return create_extractor(ExtractorOptions(features, weights=path))


def clip(path: Path) -> Extractor:
    return create_extractor(ExtractorOptions("clip", weights=path, allow_other_weights=True))


def theirs(name: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """torch-fidelity's own extractor; that of DINOv2 asks the hub for the network."""
    if name == "clip":
        options = {"feature_extractor_weights_path": str(path)}
        return feature_extractor_clip.FeatureExtractorCLIP("clip-vit-b-32", ["clip"], **options)
    network = Dinov2(SIZES["s"])
    network.load_state_dict(torch.load(path, weights_only=True))
    monkeypatch.setattr(torch.hub, "load", lambda repository, entry: {"dinov2_vits14": network}[entry])
    return feature_extractor_dinov2.FeatureExtractorDinoV2("dinov2-vit-s-14", ["dinov2"])


@pytest.mark.parametrize("size", [32, pytest.param(300, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["dinov2:s", "clip"])
def test_features_are_those_of_torch_fidelity_to_the_bit(
    name: str, size: int, dinov2_file: Path, clip_file: Path, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = pictures(3, size)
    extractor = clip(clip_file) if name == "clip" else dinov2(dinov2_file)
    features, logits = extractor.features(images)
    with torch.no_grad():
        (expected,) = theirs(name, clip_file if name == "clip" else dinov2_file, monkeypatch)(images)
    assert torch.equal(features, expected) and features.dtype == torch.float32
    assert features.shape == (3, extractor.dimension) and expected.std(dim=0).mean() > 0.01
    assert logits.shape == (3, 0) and extractor.classes == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dinov2:s", "clip"])
def test_scores_are_those_of_torch_fidelity(
    name: str, clip_file: Path, pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, generated = pictures(80), pictures(80, seed=1) // 2
    options: dict[str, Any] = {"feature_extractor": "clip-vit-b-32", "feature_extractor_weights_path": str(clip_file)}
    if name == "clip":
        extractor = clip(clip_file)
    else:
        monkeypatch.setitem(SIZES, "s", TINY)
        path = write_dinov2(tmp_path / "tiny.pth", TINY)
        extractor = dinov2(path)
        monkeypatch.setattr(torch.hub, "load", lambda *_: load_dinov2(path, TINY))
        options = {"feature_extractor": "dinov2-vit-s-14"}
    expected = torch_fidelity.calculate_metrics(
        input1=Images(generated),
        input2=Images(real),
        fid=True,
        kid=True,
        kid_subsets=1,
        kid_subset_size=80,
        batch_size=extractor.batch_size,
        cuda=False,
        verbose=False,
        save_cpu_ram=True,
        **options,
    )
    streams = (ImageStream("a set", 80, lambda images=images: iter(images.split(80))) for images in (generated, real))
    ours = score(*streams, extractor, ("fid", "kid"), cache=False)
    assert ours["fid"] == pytest.approx(expected["frechet_inception_distance"], rel=1e-6)
    assert ours["kid"] == pytest.approx(expected["kernel_inception_distance_mean"], rel=1e-6)  # theirs is in float32
    real, generated = (extractor.features(images)[0].double() for images in (real, generated))
    exact = metric_kid.kid_features_to_metric(generated, real, kid_subsets=1, kid_subset_size=80, verbose=False)
    assert ours["kid"] == pytest.approx(exact["kernel_inception_distance_mean"], rel=1e-9)
    assert ours["fid"] > 0.01 and ours["kid"] > 0.01


class Images(torch.utils.data.Dataset):
    """Images uint8 (N, 3, H, W) as torch-fidelity takes them."""

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return self.images[index]


def test_protocol(dinov2_file: Path, clip_file: Path) -> None:
    first, second = dinov2(dinov2_file), clip(clip_file)
    for extractor, path in ((first, dinov2_file), (second, clip_file)):
        assert extractor.protocol.weights == extractor.hash == hashlib.sha256(path.read_bytes()).hexdigest()
        assert extractor.protocol.versions["torch-fidelity"].startswith("0.4")
        assert available_metrics(("fid", "is", "kid"), extractor) == ("fid", "kid")
    assert (first.protocol.extractor, first.protocol.layer) == ("dinov2:s", "ViT-S/14 class token (384), no logits")
    assert (second.protocol.extractor, second.dimension) == ("clip", 32)
    assert "bilinear to 224, ImageNet" in first.protocol.preprocess and "CLIP" in second.protocol.preprocess
    assert first.warnings == () and "not the published CLIP weights" in second.warnings[0]
    assert ExtractorOptions().like(first.protocol).features == "dinov2:s"


def test_l_is_the_default_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SIZES, "l", TINY)
    path = write_dinov2(tmp_path / "tiny.pth", TINY)
    monkeypatch.setenv("MSN_GAN_DINOV2", str(path))
    named = [create_extractor(ExtractorOptions(features)) for features in ("dinov2", "dinov2:l")]
    assert {extractor.protocol.extractor for extractor in named} == {"dinov2"}
    assert "dinov2_vitl14_pretrain.pth" in fidelity_extractor.dinov2_weights("l").url


def test_variable_and_download(clip_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MSN_GAN_CLIP", str(clip_file))
    with pytest.raises(UserError, match="not the published CLIP weights: .* instead of 40d365715913...; give the"):
        create_extractor(ExtractorOptions("clip"))
    monkeypatch.delenv("MSN_GAN_CLIP")
    with pytest.raises(UserError, match="CLIP weights cannot be downloaded .*MSN_GAN_CLIP=FILE"):
        create_extractor(ExtractorOptions("clip"))

    class Answer(io.BytesIO):
        length = 10

    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: Answer(b"cut"))
    with pytest.raises(UserError, match="the download ended after 3 of 10 bytes"):
        create_extractor(ExtractorOptions("dinov2:s"))
    assert list((tmp_path / "hub" / "checkpoints").iterdir()) == []
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: Answer(b"0123456789"))
    found = locate_weights(fidelity_extractor.dinov2_weights("s"))
    assert found.path == tmp_path / "hub" / "checkpoints" / "dinov2_vits14_pretrain.pth"


@pytest.mark.parametrize("features", ["dinov2:s", "clip"])
@pytest.mark.parametrize("kind", ["absent", "text", "cut", "list", "another network"])
def test_bad_files(features: str, kind: str, dinov2_file: Path, clip_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    if kind == "text":
        path.write_text("hello")
    elif kind == "cut":
        path.write_bytes((clip_file if features == "clip" else dinov2_file).read_bytes()[:-1000])
    elif kind != "absent":
        torch.save([1, 2] if kind == "list" else nn.Linear(2, 2).state_dict(), path)
    expected = "no such file; get it from https://" if kind == "absent" else "does not hold the weights of "
    with pytest.raises(UserError, match=expected) as error:
        create_extractor(ExtractorOptions(features, weights=path, allow_other_weights=features == "clip"))
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_files_of_other_sizes(dinov2_file: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"of DINOv2 ViT-B/14; it has those of ViT-S/14, --features dinov2:s$"):
        dinov2(dinov2_file, "dinov2:b")
    state = torch.load(dinov2_file, weights_only=True)
    torch.save({**state, "register_tokens": torch.zeros(1, 4, 384)}, tmp_path / "registers.pth")
    with pytest.raises(UserError, match="it has register tokens: give the file without them"):
        dinov2(tmp_path / "registers.pth")
    with pytest.raises(UserError, match="holds another CLIP network, not ViT-B/32"):
        clip(write_clip(tmp_path / "ViT-B-16.pt", patch=16))


def test_random_stream_is_left_alone(dinov2_file: Path, clip_file: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    dinov2(dinov2_file)
    clip(clip_file)
    assert torch.equal(torch.rand(1), expected)


def test_wrong_options(dinov2_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for features in ("dinov2:x", "dinov2:S", "clip:b"):
        with pytest.raises(UsageError, match=f"--features {features}: "):
            create_extractor(ExtractorOptions(features))
    with pytest.raises(UsageError, match="dinov2:s features are computed in fp32 only"):
        create_extractor(ExtractorOptions("dinov2:s", precision="bf16"))
    with pytest.raises(UsageError, match="--preprocess: is for --features inception"):
        create_extractor(ExtractorOptions("clip", preprocess="clean"))
    with pytest.raises(
        UsageError, match="--features-weights: is for --features inception, dinov2 or clip, not for dig"
    ):
        create_extractor(ExtractorOptions("digits", weights=dinov2_file))
    for features in ("digits", "dinov2:s", "classifier:c.pt"):
        with pytest.raises(UsageError, match="--allow-other-weights: is for --features inception or clip, not for"):
            create_extractor(ExtractorOptions(features, allow_other_weights=True))


@pytest.mark.parametrize("features", ["dinov2", "clip"])
def test_without_torch_fidelity(features: str, dinov2_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def not_found(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(optional_packages, "find_spec", not_found)
    with pytest.raises(UserError) as error:
        create_extractor(ExtractorOptions(features, weights=dinov2_file))
    needs = "'torch-fidelity>=0.4,<0.5'"
    expected = f"--features {features}: needs {needs}, not installed here; run: pip install {needs}"
    assert str(error.value) == expected


@pytest.mark.slow
def test_torch_fidelity_is_imported_when_an_extractor_is_created() -> None:
    code = "import sys, gan.metrics.extractors; assert 'torch_fidelity' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
