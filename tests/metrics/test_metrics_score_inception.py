"""Scores in Inception features, held to pytorch-fid. Few images: each costs a tenth of a second."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from gan.errors import UserError
from gan.metrics.extractor import Extractor
from gan.metrics.feature_pass import ImageStream
from gan.metrics.inception_weights import FILE_NAME
from gan.metrics.score import measure_reference, score

Stream = Callable[..., ImageStream]
Pictures = Callable[..., Tensor]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MSN_GAN_CACHE", str(tmp_path / "cache"))


def test_mixed_preprocessing_is_refused(
    inception: Callable[..., Extractor], stream: Stream, pictures: Pictures
) -> None:
    images = stream(pictures(3), name="a set")
    reference = measure_reference(images, inception("pytorch-fid"))
    with pytest.raises(UserError, match=r"a set and .*: different preprocessing: pytorch-fid and clean;"):
        score(images, reference, inception("clean"), ("fid",))
    with pytest.raises(UserError, match="precisions: fp32 and bf16"):
        score(images, reference, inception("pytorch-fid", "bf16"), ("fid",))


@pytest.mark.slow
def test_statistics_are_those_of_pytorch_fid(
    inception: Callable[..., Extractor],
    inception_weights: Path,
    pictures: Pictures,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of a folder of PNGs, read by either in its own way."""
    import pytorch_fid.inception
    from pytorch_fid.fid_score import compute_statistics_of_path

    write_pngs(pictures(6), tmp_path / "images")
    state = torch.load(inception_weights, weights_only=True)
    monkeypatch.setattr(pytorch_fid.inception, "load_state_dict_from_url", lambda *args, **options: state)
    network = pytorch_fid.inception.InceptionV3([3])
    mu, sigma = compute_statistics_of_path(str(tmp_path / "images"), network, 6, 2048, "cpu", 0)
    reference = measure_reference(read_pngs(tmp_path / "images"), inception())
    np.testing.assert_allclose(reference.mean, mu, atol=1e-5)
    np.testing.assert_allclose(reference.covariance, sigma, atol=1e-5)


@pytest.mark.slow
def test_agrees_with_the_command_of_pytorch_fid(
    inception: Callable[..., Extractor],
    inception_weights: Path,
    pictures: Pictures,
    tmp_path: Path,
) -> None:
    scipy_version = pytest.importorskip("scipy").__version__
    if tuple(int(part) for part in scipy_version.split(".")[:2]) >= (1, 18):
        pytest.skip("pytorch-fid 0.3.0 passes sqrtm an argument that SciPy 1.18 removed")
    write_pngs(pictures(40), tmp_path / "real")
    write_pngs(pictures(40, seed=1) // 2, tmp_path / "generated")
    hub = tmp_path / "torch" / "hub" / "checkpoints"
    hub.mkdir(parents=True)
    (hub / FILE_NAME).symlink_to(inception_weights)
    command = [sys.executable, "-m", "pytorch_fid", str(tmp_path / "generated"), str(tmp_path / "real")]
    output = subprocess.run(
        [*command, "--device", "cpu", "--batch-size", "10", "--num-workers", "0"],
        env={"TORCH_HOME": str(tmp_path / "torch"), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    theirs = float(output.split("FID:")[1])
    ours = score(read_pngs(tmp_path / "generated"), read_pngs(tmp_path / "real"), inception(), ("fid",))["fid"]
    assert ours == pytest.approx(theirs, abs=2e-4)
    assert ours > 1


def write_pngs(images: Tensor, folder: Path) -> None:
    folder.mkdir()
    for index, image in enumerate(images):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f"{index:03}.png")


def read_pngs(folder: Path) -> ImageStream:
    paths = sorted(folder.iterdir())

    def batches() -> Iterator[Any]:
        for path in paths:
            yield torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)[None]

    return ImageStream(folder.name, len(paths), batches)
