"""The speed benchmark on tiny networks: FLOP, results, invalid flags."""

from __future__ import annotations

import json
from pathlib import Path

import machine
import numpy as np
import pytest
import textbook
import torch
import train_speed

from gan.config.presets import PRESETS, preset_config

TINY = {"g_width": 2, "d_width": 2, "latent_dim": 8}


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        train_speed, "preset_config", lambda name: PRESETS[name].replace({**TINY, "n_dis": min(PRESETS[name].n_dis, 2)})
    )
    monkeypatch.setattr(machine, "PRODUCT", {"cpu": 64, "cuda": 64})


def macs(inputs: int, outputs: int, kernel: int, size: int) -> int:
    """Multiplications of a convolution for one image; size is that of its smaller map."""
    return inputs * outputs * kernel**2 * size**2


def test_flop_of_msn_dcgan_by_hand() -> None:
    """D: 3-64-64-128-128-256-256-512-1; G: 128-512-256-128-64-3. A transposed convolution multiplies at each input."""
    first = macs(3, 64, 3, 32)
    d = first + macs(64, 64, 4, 16) + macs(64, 128, 3, 16) + macs(128, 128, 4, 8)
    d += macs(128, 256, 3, 8) + macs(256, 256, 4, 4) + macs(256, 512, 3, 4) + 8192
    stem = macs(128, 512, 4, 1)
    g = stem + macs(512, 256, 4, 4) + macs(256, 128, 4, 8) + macs(128, 64, 4, 16) + macs(64, 3, 3, 32)
    # G once forward. D forward, weight and input gradients, twice; no gradient of images.
    d_update = g + 2 * (3 * d - first)
    # D forward and input gradients, G's weight and input gradients; none of latents.
    g_update = 2 * d + 2 * g - stem
    assert machine.model_flop(preset_config("msn-dcgan")) == 2 * (d_update + g_update)


def test_flop_of_more_d_updates() -> None:
    """An image costs d + g / n_dis: an update of D and a share of G's, which generates its own images if n_dis > 1."""
    config = preset_config("sngan-resnet").replace(TINY)
    one, two, four, eight = (machine.model_flop(config.replace({"n_dis": count})) for count in (1, 2, 4, 8))
    g = 4 * (two - four)
    d = two - g / 2
    assert eight == pytest.approx(d + g / 8)
    assert d + 2 / 3 * g < one < d + g  # less G's forward pass, of which an update of G has the cost of three


def test_flop_are_those_of_the_programs_own_networks() -> None:
    """A 3x3 convolution merged with an upsampling or a 2x2 mean has 4/9 of the products; BN prevents the latter."""
    config = preset_config("sngan-resnet")
    assert machine.model_flop(config, textbook.build) / 1e9 == pytest.approx(8.85, abs=0.01)
    assert machine.model_flop(config) / 1e9 == pytest.approx(5.84, abs=0.01)
    narrow = {"g_width": 16, "d_width": 16}
    config = config.replace(narrow)
    counts = [machine.model_flop(config.replace({"norm": norm})) for norm in ("none", "sn", "msn", "bn")]
    assert counts[0] == counts[1] == counts[2] < counts[3] < machine.model_flop(config, textbook.build)
    dcgan = preset_config("msn-dcgan").replace(narrow)
    assert machine.model_flop(dcgan, textbook.build) == machine.model_flop(dcgan)


def test_product_rate() -> None:
    assert machine.product_rate(torch.device("cpu"), torch.bfloat16) > 0


@pytest.mark.parametrize(
    ("rate", "side"),
    [(1e12, 4096), (1e9, 512), (1e7, 256)],
    ids=["fast", "slow", "without the instructions"],
)
def test_a_slow_product_is_a_small_one(rate: float, side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A product of side 4096 in bf16 takes ten minutes on a processor without bf16 instructions."""
    sides: list[int] = []

    def seconds(side: int, device: torch.device, dtype: torch.dtype) -> float:
        sides.append(side)
        return 2 * side**3 / rate

    monkeypatch.setattr(machine, "PRODUCT", {"cpu": 4096})
    monkeypatch.setattr(machine, "_product_seconds", seconds)
    assert machine.product_rate(torch.device("cpu"), torch.bfloat16) == pytest.approx(rate)
    assert sides[-1] == side


@pytest.mark.slow
def test_it_measures_and_writes(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--data", str(images), "--preset", "msn-dcgan", "sngan-resnet", "--norms", "sn,msn", "--batch", "4"]
    flags += ["--steps", "1", "--rounds", "2", "--warmup", "1", "--workers", "0", "--precision", "fp32"]
    train_speed.main([*flags, "--json", str(tmp_path / "speed.json")])
    printed = capsys.readouterr()
    found = json.loads((tmp_path / "speed.json").read_text())
    assert [(result["preset"], result["norm"]) for result in found["results"]] == [
        ("msn-dcgan", "sn"),
        ("msn-dcgan", "msn"),
        ("sngan-resnet", "sn"),
        ("sngan-resnet", "msn"),
    ]
    for result in found["results"]:
        ours, textbook = (result["programs"][name] for name in ("ours", "textbook"))
        rounds = np.divide(ours["images_per_second_of_rounds"], textbook["images_per_second_of_rounds"])
        assert len(rounds) == 2 and result["ratio"] == pytest.approx(np.median(rounds))
        assert result["ratio_quartiles"][0] <= result["ratio"] <= result["ratio_quartiles"][1]
        # The textbook's ResNets have the convolutions that ours merge with an upsampling or a mean.
        merges = result["preset"] == "sngan-resnet"
        assert (ours["model_flop_per_image"] < textbook["model_flop_per_image"]) == merges
        for program in (ours, textbook):
            work = program["images_per_second"] * program["model_flop_per_image"]
            assert program["model_flop_per_second"] == pytest.approx(work)
            share = work / found["product_flop_per_second"]["fp32"]
            assert program["share_of_product_rate"] == pytest.approx(share)
    (pair, _) = found["step_time_of_norms"]
    sn, msn = (found["results"][i]["programs"]["ours"]["images_per_second_of_rounds"] for i in (0, 1))
    assert pair["norms"] == "msn/sn" and pair["ratio"] == pytest.approx(np.median(np.divide(sn, msn)))
    assert found["versions"]["torch"] and found["hardware"]["cores"]
    rows = [line for line in printed.out.splitlines() if line.startswith("| msn-dcgan | msn |")]
    assert [row.split(" | ")[2] for row in rows] == ["textbook", "ours"]
    # The second round goes backwards.
    turns = [line.split(": ")[0] for line in printed.err.splitlines() if line.endswith("images/s")]
    assert turns[4:8] == turns[3::-1] and turns[0] == "msn-dcgan sn textbook"


def test_ours_alone(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--data", str(images), "--norms", "none,sn", "--batch", "4", "--steps", "1", "--rounds", "1"]
    train_speed.main([*flags, "--warmup", "1", "--skip-textbook"])
    printed = capsys.readouterr()
    assert "textbook |" not in printed.out.replace("ours / textbook |", "") and "| msn-dcgan | sn/none |" in printed.out


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--norms", "sn,ln"], "--norms ln: choose from none,bn,mean,sn,msn"),
        (["--rounds", "0"], "--rounds 0: must be at least 1"),
        (["--json", "absent/speed.json"], "--json absent/speed.json: there is no folder"),
        (["--preset", "resnet-64"], "invalid choice: 'resnet-64'"),
        (["--batch", "13"], "--batch 13: there are only 12 images; choose that many or fewer"),
        (["--batch", "13", "--skip-textbook"], "choose a batch of 12 or fewer"),
        (["--data", "absent.zip"], "--data absent.zip: cannot be read as a zip"),
    ],
)
def test_bad_flags(
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    flags: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        train_speed.main(["--data", str(images), "--workers", "0", "--rounds", "1", "--steps", "1", *flags])
    assert stopped.value.code == (1 if "absent.zip" in flags else 2)
    assert message in capsys.readouterr().err


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_cuda_it_tells_the_peak_memory(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--data", str(images), "--norms", "msn", "--batch", "4", "--steps", "2", "--rounds", "1"]
    train_speed.main([*flags, "--device", "cuda", "--workers", "1"])
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| msn-dcgan | msn |")]
    assert len(rows) == 2 and all(row.endswith(" MB |") for row in rows)
