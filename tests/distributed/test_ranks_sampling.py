"""Samples and scores by several ranks: those of one process."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from gan.metrics.extractor import ExtractorOptions
from gan.metrics.score_table import DEFAULT_METRICS
from gan.runs import checkpoint, log
from gan.runs.run_dir import RunDirectory
from gan.sampling import sample
from tests.helpers.jobs import command
from tests.helpers.ranked_runs import SMALL, train
from tests.helpers.reports import ask


@pytest.mark.parametrize("count", [2, 3])
def test_sample_writes_the_bytes_of_one_process(tmp_path: Path, whole: Path, count: int) -> None:
    """130 images are two chunks and a part of one; three ranks and one image leave two idle."""
    run = whole / "checkpoints" / "r"
    for name, num in (("some.zip", 130), ("few.png", 1), ("folder", 65)):
        sample.write_samples(run, tmp_path / name, sample.SampleOptions(num=num, seed=5, device="cpu"))
        flags = ("--num", num, "--seed", 5, "--out", name, "--device", "cpu")
        ended = command(tmp_path / "job", count, "sample", run, *flags)
        assert [end.code for end in ended] == [0] * count, ended
        assert f"wrote {name}" in ended[0].told and ended[1].told == ""
    for path in [path for path in tmp_path.rglob("*") if path.is_file() and "job" not in path.parts]:
        assert (tmp_path / "job" / path.relative_to(tmp_path)).read_bytes() == path.read_bytes()
    assert len(zipfile.ZipFile(tmp_path / "some.zip").namelist()) == 130
    assert len(list((tmp_path / "folder").iterdir())) == 65


def test_a_walk_of_two_ranks(tmp_path: Path, whole: Path) -> None:
    run = whole / "checkpoints" / "r"
    sample.write_samples(run, tmp_path / "walk.gif", sample.SampleOptions(num=2, frames=2, device="cpu"))
    ended = command(tmp_path / "job", 2, "sample", run, "--num", 2, "--interpolate", 2, "--out", "walk.gif")
    assert [end.code for end in ended] == [0, 0], ended
    assert (tmp_path / "job" / "walk.gif").read_bytes() == (tmp_path / "walk.gif").read_bytes()


def test_report_scores_as_one_process_does(tmp_path: Path, whole: Path, data: Path) -> None:
    """Batches of 32: 100 images are four, the last one small; 24 real ones are one, so that a rank has none."""
    run = whole / "checkpoints" / "r"
    extractor = ExtractorOptions(features="digits", device="cpu", batch=32)
    metrics = (*DEFAULT_METRICS, "copies")
    alone = ask(tmp_path / "alone", run, extractor=extractor, num=100, data=str(data), metrics=metrics, repeats=2)
    flags = ("--num", 100, "--features", "digits", "--batch", 32, "--device", "cpu", "--data", data, "--out", "out")
    flags += ("--metrics", ",".join(metrics), "--repeats", 2)
    ended = command(tmp_path / "job", 2, "report", run, *flags)
    assert [end.code for end in ended] == [0, 0], ended
    assert "wrote out/report.html" in ended[0].told and ended[1].told == "" and ended[1].printed == ""
    record = json.loads((tmp_path / "job" / "out" / "report.json").read_text())
    assert len(record["results"]) == len(alone["results"]) == 3
    for ours, theirs in zip(record["results"], alone["results"], strict=True):
        for name in (
            "fid",
            "inception_score",
            "inception_score_std",
            "kid",
            "kid_std",
            "precision",
            "recall",
            "auth_pct",
        ):
            assert ours[name] == pytest.approx(theirs[name], rel=1e-9, abs=1e-9), name
        assert ours["repeats"]["fid"] == pytest.approx(theirs["repeats"]["fid"], rel=1e-9)
        assert ours["protocol"]["reference_content"] == theirs["protocol"]["reference_content"]
    for name in ("001", "001-chosen", "003-most"):
        assert (tmp_path / f"job/out/report-images/{name}.png").exists()


def test_scores_while_training(tmp_path: Path, data: Path) -> None:
    """The ranks look together; one process that scores the checkpoint comes to the same."""
    flags = ("--report-every", 4, "--report-num", 70, "--features", "digits", "--steps", 4, "--g-lr", 0.1)
    flags += ("--report-repeats", 2)
    ended = train(tmp_path, 2, *SMALL, *flags, "--data", data)
    assert [end.code for end in ended] == [0, 0], ended
    (logged,) = [e for e in log.read_log(tmp_path / "checkpoints" / "r" / "log.jsonl") if "scores" in e]
    newest = checkpoint.list_checkpoints(tmp_path / "checkpoints" / "r")[-1]
    alone = ask(tmp_path / "alone", newest, num=70, data=str(data), metrics=("fid", "is"), repeats=2)["results"][0]
    for name in ("fid", "inception_score"):
        assert logged["scores"][name] == pytest.approx(alone[name], rel=1e-9)
    assert logged["repeats"]["fid"] == pytest.approx(alone["repeats"]["fid"], rel=1e-9)
    assert RunDirectory("r", tmp_path).read_best()["step"] == 4
