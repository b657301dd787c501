"""Files of an older version are read and continued: a run, a comparison, a classification, and both caches.

`files/` was written by commit 9f1d549, the last one before the modules moved into packages: three jobs that were ended
in the middle, on a CPU, and what they had cached.
"""

from __future__ import annotations

import json
import shutil
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest

from gan.data import loading
from gan.data.loading import load_images
from gan.evaluation.image_streams import image_set_stream
from gan.experiments.classify.experiment import run_classification
from gan.experiments.compare.experiment import run_comparison
from gan.metrics import score
from gan.metrics.extractor import ExtractorOptions
from gan.metrics.extractors import create_extractor
from gan.runs import checkpoint
from gan.runs.log import read_log
from gan.training.train import train_run

FILES = Path(__file__).parent / "files"
RUN = Path("checkpoints/r")
SETTINGS: dict[str, Any] = {
    "channels": 1,
    "g_width": 2,
    "d_width": 2,
    "latent_dim": 4,
    "batch": 8,
    "log_every": 2,
    "sample_every": 4,
    "checkpoint_every": 2,
    "precision": "fp32",
    "keep": 1,
    "conditional": True,
    "flip": True,
    "norm": "msn",
    "r1": 0.1,
    "augment": ("color", "translation"),
    "report_every": 0,
}
LOGGED = ("loss_d", "loss_g", "d_real", "d_fake", "grad_norm_d", "grad_norm_g", "variety")


@pytest.fixture
def older(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A copy of one of the folders."""
    return Path(shutil.copytree(FILES / request.param, tmp_path / "older"))


@pytest.mark.parametrize("older", ["run"], indirect=True)
def test_a_run_is_resumed(older: Path, tmp_path: Path) -> None:
    """The older half and the newer one are those of a run that this version trains alone, but for rounding."""
    train_run("r", None, None, {"steps": 8}, resume=True, dry_run=False, root=older, device="cpu")
    flags = {**SETTINGS, "steps": 8, "g_lr": 2e-4, "d_lr": 2e-4}  # those of the preset when the files were made
    train_run("r", None, None, flags, resume=False, dry_run=False, root=tmp_path / "new", device="cpu")
    resumed, alone = read_log(older / RUN / "log.jsonl"), read_log(tmp_path / "new" / RUN / "log.jsonl")
    assert [entry["step"] for entry in resumed] == [2, 4, 6, 8]
    for mine, other in zip(resumed, alone, strict=True):
        assert [mine[name] for name in LOGGED] == pytest.approx([other[name] for name in LOGGED], rel=1e-3)
    first, second = (checkpoint.load_checkpoint(root / RUN / "step-00000008.pt") for root in (older, tmp_path / "new"))
    assert first.keys() == second.keys()
    for network in ("generator", "discriminator", "average"):
        assert first[network].keys() == second[network].keys()


@pytest.mark.parametrize("older", ["comparison"], indirect=True)
def test_a_comparison_is_continued(older: Path) -> None:
    """One training was done and stays as it is; the other had a checkpoint at step 2 of 4."""
    files = {path: path.read_bytes() for path in (older / RUN / "sn-seed0").iterdir()}
    begun = read_log(older / RUN / "msn-seed0" / "log.jsonl")
    assert run_comparison("r", None, None, {}, root=older, device="cpu") is None
    assert all(path.read_bytes() == content for path, content in files.items())
    assert read_log(older / RUN / "msn-seed0" / "log.jsonl")[: len(begun)] == begun
    record = json.loads((older / RUN / "report.json").read_text())
    sn, msn = record["trainings"]
    assert (sn["norm"], msn["norm"]) == ("sn", "msn") and record["planned"] == 2
    assert sn["curve"]["step"] == msn["curve"]["step"] == [2, 4] and not msn["missing"]
    assert sn["start"] == msn["start"]
    best = json.loads((FILES / "comparison" / RUN / "sn-seed0" / "best.json").read_text())
    assert sn["best"]["fid"] == best["fid"]


@pytest.mark.parametrize("older", ["classification"], indirect=True)
def test_a_classification_is_continued(older: Path) -> None:
    files = {path: path.read_bytes() for path in (older / RUN / "none-lr0.01-seed0").iterdir()}
    assert run_classification("r", {}, root=older, device="cpu") is None
    assert all(path.read_bytes() == content for path, content in files.items())
    record = json.loads((older / RUN / "classify.json").read_text())
    assert [training["norm"] for training in record["trainings"]] == ["none", "msn"]
    assert all(training["curve"]["epoch"] == [1, 2] for training in record["trainings"])


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(FILES / "cache", tmp_path / "cache")
    monkeypatch.setenv("MSN_GAN_CACHE", str(tmp_path / "cache"))


def bitmap(index: int) -> bytes:
    """An 8x8 BMP of 24 bits."""
    header = struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 246, 0, 0, 54, 40, 8, 8, 1, 24, 0, 192, 0, 0, 0, 0)
    return header + b"".join(bytes([(index + x + y) % 7 * 40] * 3) for y in range(8) for x in range(8))


@pytest.mark.usefixtures("cache")
def test_older_decoded_images_are_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their keys were made of names, sizes and times, which do not prove that the files have the same content."""
    monkeypatch.setattr("PIL.__version__", "13.0.0")  # which is a part of the key
    decoded = []
    decode_all = loading.decode_all
    monkeypatch.setattr(loading, "decode_all", lambda *arguments: decoded.append(1) or decode_all(*arguments))
    with zipfile.ZipFile(tmp_path / "two-thousand.zip", "w", zipfile.ZIP_STORED) as archive:
        for index in range(2000):
            info = zipfile.ZipInfo(f"{'ab'[index % 2]}/{index:04d}.bmp")
            info.create_system = 3  # as on Linux
            archive.writestr(info, bitmap(index))
    for _ in range(2):
        images = load_images(str(tmp_path / "two-thousand.zip"), resolution=8, channels=1)
        assert images.fingerprint == "cd50a9a4a282d09ddb28ce014cce46398e4b282089283cffcc494baa8766f998"
        assert images.classes == ("a", "b") and images.conversions == {"converted to grey": 2000}
    assert decoded == [1]


@pytest.mark.usefixtures("cache")
def test_reference_statistics_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score, "extract_features", lambda *_, **__: pytest.fail("computed again"))
    digits = load_images("digits", resolution=32, channels=1)
    reference = score.measure_reference(
        image_set_stream(digits, "digits", "train"), create_extractor(ExtractorOptions("digits"))
    )
    assert reference.content == "411b17afb5b51697aafa8294512f449fc7339b78e860b9c19fd8d225f2e1c43d"
    assert reference.count == 1797 and reference.covariance.shape == (64, 64)
