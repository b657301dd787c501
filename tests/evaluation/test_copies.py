"""`report --metrics copies`: low scores for copies, and figures of copies beside the images that they copy."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

import gan
from gan.errors import UsageError, UserError
from gan.evaluation.copies import copy_figures
from gan.evaluation.options import EvaluationOptions
from gan.evaluation.report import write_evaluation_report
from gan.metrics.copies import SHOWN
from gan.runs import checkpoint
from gan.sampling import sample
from tests.helpers.reports import ask, trained

_SIDE = 32
_STEP = _SIDE + 1  # of a grid


def _write(folder: Path, images: np.ndarray) -> Path:
    folder.mkdir()
    for number, pixels in enumerate(images):
        Image.fromarray(pixels).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC).save(folder / f"{number:04d}.png")
    return folder


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Digits: `real`, `held`, `new`, all different; `copies` of the first half of `real`, and `noisy` ones."""
    root, rng = tmp_path_factory.mktemp("sets"), np.random.default_rng(0)
    digits = rng.permutation((load_digits().images / 16 * 255).round().astype(np.uint8))
    noisy = (digits[:200] + rng.normal(0, 20, (200, 8, 8))).clip(0, 255).astype(np.uint8)
    parts = {"real": digits[:400], "held": digits[400:700], "new": digits[700:900], "copies": digits[:200]}
    return {name: _write(root / name, images) for name, images in {**parts, "noisy": noisy}.items()}


def _grid(path: Path) -> list[list[np.ndarray]]:
    """The images of a grid with names of rows, by row and column."""
    pixels = np.array(Image.open(path))[:, :, 0]
    left = pixels.shape[1] - (SHOWN * _STEP + 1)
    return [
        [pixels[1 + row * _STEP :, left + 1 + column * _STEP :][:_SIDE, :_SIDE] for column in range(SHOWN)]
        for row in range(3)
    ]


def _pixels(folder: Path, index: int) -> np.ndarray:
    return np.array(Image.open(folder / f"{index:04d}.png"))


@pytest.fixture(scope="module")
def report(sets: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, dict[str, Any]]]:
    """A folder with a report of three sets, and their results by name."""
    out = tmp_path_factory.mktemp("report") / "out"
    targets = [sets[name] for name in ("new", "noisy", "copies")]
    flags: dict[str, Any] = {"data": str(sets["real"]), "held_out": str(sets["held"]), "metrics": ("fid", "copies")}
    record = ask(out, *targets, num=200, **flags)
    assert record["settings"]["held_out"] == str(sets["held"])
    return out, {row["name"]: row for row in record["results"]}


def test_copies_are_told_from_new_images(report: tuple[Path, dict[str, dict[str, Any]]]) -> None:
    rows = report[1]
    assert rows["copies"]["auth_pct"] == 0 and rows["noisy"]["auth_pct"] < 5
    assert rows["copies"]["ct"] < -8 and rows["noisy"]["ct"] < -8
    assert abs(rows["new"]["ct"]) < 3 and rows["new"]["ct_cells"] == 3
    assert abs(rows["new"]["auth_pct"] - rows["new"]["auth_pct_held_out"]) < 10
    assert {row["protocol"]["held_out_count"] for row in rows.values()} == {300}
    assert rows["new"]["protocol"]["held_out_content"] != rows["new"]["protocol"]["reference_content"]


@pytest.mark.parametrize("name", ["new", "copies"])
@pytest.mark.parametrize("kind", ["chosen", "most"])
def test_the_grids_show_the_listed_images(
    report: tuple[Path, dict[str, dict[str, Any]]], sets: dict[str, Path], name: str, kind: str
) -> None:
    out, rows = report
    copies = rows[name]["copies"]
    grid = _grid(out / copies["grids"][kind])
    assert len(copies[kind]) == SHOWN
    every = np.stack([_pixels(sets["real"], index) for index in range(400)]).astype(float)
    for column, image in enumerate(copies[kind]):
        generated = _pixels(sets[name], image["image"])
        nearest = int(np.square(every - generated).sum(axis=(1, 2)).argmin())
        assert image["real_in_pixels"] == nearest
        expected = [generated, _pixels(sets["real"], image["real"]), _pixels(sets["real"], nearest)]
        assert all(np.array_equal(row[column], pixels) for row, pixels in zip(grid, expected, strict=True))
        if name == "copies":
            assert image["real"] == image["real_in_pixels"] == image["image"] and image["ratio"] == 0
    ratios = [image["ratio"] for image in copies["most"]]
    assert ratios == sorted(ratios)


def test_the_pages(report: tuple[Path, dict[str, dict[str, Any]]]) -> None:
    out, rows = report
    written = write_evaluation_report(out)
    assert written.first.header == ("Target", "FID ↓", "Authentic, %", "C_T", "Images")
    assert {column for _, column in written.first.best} == {1}  # neither more nor less is better
    text = (out / "report.md").read_text()
    assert "a higher value is not better" in text and "| held-out count | 300 |" in text
    for row in rows.values():
        for path in row["copies"]["grids"].values():
            assert path in text
    assert "10 images drawn by seed 0; below them the nearest real images in digits features and in pixels" in text
    assert "copies: the 10 most copied of 200 images" in text and "0.00 (left) to 0.00 (right)" in text
    assert (out / "report.html").read_text().count("data:image/png") == 3 + 1 + 6


def test_checkpoints_and_their_files_agree(tmp_path: Path) -> None:
    """The images of a checkpoint are generated again for the grids."""
    run = trained(tmp_path, channels=1, report_every=0)
    newest = checkpoint.list_checkpoints(run)[-1]
    for name in ("png", "png.zip"):
        sample.write_samples(newest, tmp_path / name, sample.SampleOptions(num=70, device="cpu"))
    with zipfile.ZipFile(tmp_path / "png.zip") as archive:
        pixels = [np.array(Image.open(archive.open(name))) for name in sorted(archive.namelist())]
    np.savez(tmp_path / "arrays.npz", arr_0=np.stack(pixels))
    targets = (newest, tmp_path / "png", tmp_path / "png.zip", tmp_path / "arrays.npz")
    record = ask(tmp_path / "out", *targets, num=70, data="digits", metrics=("copies",))
    first, *others = record["results"]
    assert "ct" not in first and first["protocol"]["held_out_content"] is None
    for other in others:
        assert other["auth_pct"] == first["auth_pct"]
        for kind in ("chosen", "most"):
            assert other["copies"][kind] == first["copies"][kind]
            paths = [tmp_path / "out" / row["copies"]["grids"][kind] for row in (first, other)]
            assert paths[0] != paths[1] and paths[0].read_bytes() == paths[1].read_bytes()
    figures = [figure.path for figure in copy_figures(record["results"], tmp_path / "out")]
    assert len(figures) == 8
    run_record = ask(tmp_path / "run", run, num=40, metrics=("copies",))
    written = write_evaluation_report(tmp_path / "run")
    assert len(run_record["results"]) == 2 and len(written.charts) >= 1
    assert [len(grids) for _, grids in written.more_grids] == [2]  # of the earlier checkpoint


def test_held_out_images_of_the_test_split(tmp_path: Path, sets: dict[str, Path]) -> None:
    both = tmp_path / "both"
    both.mkdir()
    (both / "train").symlink_to(sets["real"], target_is_directory=True)
    (both / "test").symlink_to(sets["held"], target_is_directory=True)
    flags: dict[str, Any] = {"data": str(both), "metrics": ("copies",)}
    row = ask(tmp_path / "a", sets["new"], held_out=str(both), **flags)["results"][0]
    other = ask(tmp_path / "b", sets["new"], held_out=str(sets["held"]), **flags)["results"][0]
    assert row["protocol"]["held_out_count"] == 300 and row["ct"] == other["ct"]


def test_doubtful_held_out_images(tmp_path: Path, sets: dict[str, Path]) -> None:
    flags: dict[str, Any] = {"data": str(sets["real"]), "metrics": ("copies",)}
    warnings = ask(tmp_path / "a", sets["new"], held_out=str(sets["copies"]), **flags)["results"][0]["warnings"]
    assert any("200 of the 200 held-out images have the same features as an image of" in line for line in warnings)
    few = _write(tmp_path / "few", np.random.default_rng(0).integers(0, 256, (20, 8, 8), dtype=np.uint8))
    warnings = ask(tmp_path / "b", sets["new"], held_out=str(few), **flags)["results"][0]["warnings"]
    assert "C_T from 20 held-out images detects strong copying only" in warnings


def test_what_is_refused(tmp_path: Path, sets: dict[str, Path]) -> None:
    def refused(error: type[Exception], message: str, **flags: Any) -> None:
        flags = {"data": str(sets["real"]), "metrics": ("copies",), **flags}
        with pytest.raises(error, match=message) as raised:
            ask(tmp_path / "out", sets["new"], **flags)
        assert "\n" not in str(raised.value) and not (tmp_path / "out").exists()

    refused(UsageError, "--held-out .*: is for --metrics copies only", metrics=("fid",), held_out="digits")
    refused(UsageError, "--held-out nowhere: no such folder, zip or npz", held_out="nowhere")
    refused(UsageError, "the same images as --data", held_out=str(sets["real"]))
    refused(UsageError, "--ref: kid, pr and copies need", data=None, ref=tmp_path / "ref.npz")
    one = _write(tmp_path / "one", np.zeros((1, 8, 8), np.uint8))
    refused(UserError, "one", data=str(one))


def test_unlike_held_out_images_are_not_compared(report: tuple[Path, dict[str, dict[str, Any]]]) -> None:
    from gan.metrics.protocol import Protocol, protocol_differences

    protocol = Protocol.from_json(report[1]["new"]["protocol"])
    other = Protocol.from_json({**protocol.to_json(), "held_out_content": "f" * 64, "ct_cells": 5})
    assert protocol_differences(protocol, other) == [
        f"held-out images: {protocol.held_out_content[:12] if protocol.held_out_content else ''} and {'f' * 12}",
        "cells of C_T: 3 and 5",
    ]


def test_the_default_metrics_are_the_four() -> None:
    assert EvaluationOptions(("a",)).scores == ("fid", "is", "kid", "pr")


def test_from_python(sets: dict[str, Path], tmp_path: Path) -> None:
    report = gan.score(
        sets["noisy"], data=sets["real"], held_out=sets["held"], metrics="copies", features="digits", device="cpu"
    )
    assert set(report[0]) == {"auth_pct", "ct"} and report[0]["auth_pct"] < 5
    assert json.dumps(report.record) and "grids" not in report.record["results"][0]["copies"]
    assert torch.tensor([image["image"] for image in report.record["results"][0]["copies"]["chosen"]]).unique().numel()
