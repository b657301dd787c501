from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from gan.errors import UserError
from gan.metrics import digits as module
from gan.metrics.digits import WEIGHTS, DigitsExtractor, DigitsNetwork, load_digits
from gan.metrics.extractor import ExtractorOptions


def test_shipped_network_reads_digits(digits: DigitsExtractor) -> None:
    images, labels = load_digits()
    features, logits = digits.features(images.expand(-1, 3, -1, -1))
    assert features.shape == (1797, 64) and logits.shape == (1797, 10)
    assert (logits.argmax(dim=1) == labels).double().mean() > 0.99
    assert features.var(dim=0).mean() == pytest.approx(1, rel=0.01)
    assert features.std(dim=0).min() > 0.05  # no feature is blind


@pytest.mark.parametrize("size", [16, 28, 64])
def test_reads_digits_of_other_sizes(digits: DigitsExtractor, size: int) -> None:
    images, labels = load_digits()
    resized = F.interpolate(images[:300].float(), size=(size, size), mode="bilinear", antialias=True)
    _, logits = digits.features(resized.round().to(torch.uint8).expand(-1, 3, -1, -1))
    assert (logits.argmax(dim=1) == labels[:300]).double().mean() > 0.95


def test_weights_are_small_and_named(digits: DigitsExtractor) -> None:
    assert WEIGHTS.stat().st_size < 1_000_000
    assert digits.hash == digits.protocol.weights == hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()
    assert sum(weight.numel() for weight in DigitsNetwork().parameters()) == 89_546


def test_settings_of_training_do_not_reach_in_and_stay(digits: DigitsExtractor) -> None:
    images = load_digits()[0][:40].expand(-1, 3, -1, -1)
    expected, _ = digits.features(images)
    matmul, benchmark = torch.get_float32_matmul_precision(), torch.backends.cudnn.benchmark
    torch.set_float32_matmul_precision("medium")
    torch.backends.cudnn.benchmark = True
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            features, _ = digits.features(images)
            assert torch.is_autocast_enabled("cpu")
        assert torch.equal(features, expected)
        assert torch.get_float32_matmul_precision() == "medium" and torch.backends.cudnn.benchmark
    finally:
        torch.set_float32_matmul_precision(matmul)
        torch.backends.cudnn.benchmark = benchmark


def test_damaged_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = tmp_path / "digits.pt"
    damaged.write_bytes(WEIGHTS.read_bytes()[:1000])
    for path in (damaged, tmp_path / "absent.pt"):
        monkeypatch.setattr(module, "WEIGHTS", path)
        with pytest.raises(UserError, match="missing or damaged"):
            DigitsExtractor(ExtractorOptions())


@pytest.mark.slow
def test_training_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It reads at least 97 % of held-out digits, and gives the shipped weights but for the processor's rounding."""
    module.main(tmp_path / "digits.pt")
    share = float(capsys.readouterr().out.split("accuracy: ")[1].split()[0])
    assert share >= 0.97
    ours, shipped = (torch.load(path, weights_only=True) for path in (tmp_path / "digits.pt", WEIGHTS))
    for name, weight in shipped.items():
        torch.testing.assert_close(ours[name], weight, rtol=0.1, atol=0.05)
