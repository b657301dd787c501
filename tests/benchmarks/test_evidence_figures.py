"""The figures of the comparison over many seeds."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import evidence_figures
import pytest
from PIL import Image


def _kept(folder: Path, arm: str, seed: int) -> None:
    """A file as of a training, and its sample grid of one colour."""
    curve = {"step": [1, 2], "images": [16, 32], "seconds": [1.0, 2.0], "fid": [20.0 + seed, 10.0 + seed]}
    training = {"norm": arm, "seed": seed, "final": {"fid": 10.0 + seed}, "curve": curve}
    folder.mkdir(exist_ok=True)
    (folder / f"{arm}-seed{seed}.json").write_text(json.dumps({"training": training}))
    samples = folder / "samples" / f"{arm}-seed{seed}"
    samples.mkdir(parents=True)
    for step, shade in ((1, 0), (2, 100 + len(arm))):
        Image.new("RGB", (265, 265), (shade,) * 3).save(samples / f"step-{step:08}.png")


def test_chart_and_grids(tmp_path: Path) -> None:
    for arm in ("sn", "msn", "msn-joint", "none"):
        for seed in (0, 1):
            _kept(tmp_path, arm, seed)
    flags = ["--keep", tmp_path, "--samples", tmp_path / "samples", "--out", tmp_path, "--arms", "sn", "msn", "none"]
    evidence_figures.main([*map(str, flags)])
    chart = ElementTree.fromstring((tmp_path / "normalizations-fid.svg").read_text())
    assert "sn from 20.5 at 16 to 10.5 at 32; msn from 20.5" in chart.attrib["aria-label"]
    with Image.open(tmp_path / "normalizations-grids.png") as image:
        assert image.size == (3 * 265 + 2 * 8, 4 * 33 + 1 + 14)
        shades = [image.getpixel((x, image.height - 1)) for x in (132, 132 + 273, 132 + 2 * 273)]
    assert shades == [(102,) * 3, (103,) * 3, (104,) * 3]


def test_missing_files_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _kept(tmp_path, "sn", 0)
    for flags, words in ((["--arms", "mean"], "has no trainings of mean"), ([], "has no sample grid of sn-seed1")):
        with pytest.raises(SystemExit) as caught:
            evidence_figures.main(["--keep", str(tmp_path), "--samples", str(tmp_path), "--out", str(tmp_path), *flags])
        assert caught.value.code == 1 and words in capsys.readouterr().err
    assert not list(tmp_path.glob("normalizations-*"))
