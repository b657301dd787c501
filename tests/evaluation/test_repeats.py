"""FID over draws of latents: in the log of a run, and in `report`."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import stdev

import numpy as np
import pytest

from gan.errors import UsageError
from gan.evaluation import training_evaluator
from gan.evaluation.repeats import draw_seed
from gan.evaluation.report import evaluation_report
from gan.runs.run_dir import RunDirectory
from gan.sampling import sample
from gan.training import train as launch
from tests.helpers.reports import ask, trained

NUM = 30


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run whose last score has three draws."""
    root = tmp_path_factory.mktemp("repeated")
    trained(root, channels=1, report_every=2, report_num=NUM, steps=4, report_repeats=3)
    return RunDirectory("r", root)


def fid_of(images: Path, out: Path) -> float:
    return ask(out, images, data="digits", metrics=("fid",), num=NUM)["results"][0]["fid"]


def test_draws_are_the_images_of_their_seeds(run: RunDirectory, tmp_path: Path) -> None:
    """Each FID is that of the images that `sample` writes for its seed."""
    repeats = training_evaluator.logged_scores(run)[4]["repeats"]
    assert repeats["seeds"] == [0, draw_seed(0, 1), draw_seed(0, 2)] and len(set(repeats["fid"])) == 3
    newest = run.checkpoints / "step-00000004.pt"
    for number, (seed, fid) in enumerate(zip(repeats["seeds"], repeats["fid"], strict=True)):
        images = tmp_path / f"{number}.zip"
        sample.write_samples(newest, images, sample.SampleOptions(num=NUM, seed=seed, device="cpu"))
        assert fid_of(images, tmp_path / f"out{number}") == fid


def test_the_last_score_alone_is_repeated(run: RunDirectory) -> None:
    scored = training_evaluator.logged_scores(run)
    assert "repeats" not in scored[2] and scored[4]["repeats"]["fid"][0] == scored[4]["scores"]["fid"]


def test_one_draw_leaves_the_log_as_it_was(run: RunDirectory, tmp_path: Path) -> None:
    trained(tmp_path, channels=1, report_every=2, report_num=NUM, steps=4)
    single = training_evaluator.logged_scores(RunDirectory("r", tmp_path))
    for step, entry in training_evaluator.logged_scores(run).items():
        entry.pop("repeats", None)
        assert single[step].keys() == entry.keys() and single[step]["scores"] == entry["scores"]


def test_a_missed_score_is_repeated_on_resume(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    whole = (run.checkpoints / "log.jsonl").read_text()
    (run.checkpoints / "log.jsonl").write_text("".join(whole.splitlines(keepends=True)[:-1]))
    launch.train_run("r", None, None, {}, resume=True, dry_run=False, root=run.root, device="cpu")
    assert (run.checkpoints / "log.jsonl").read_text() == whole
    fids = json.loads(whole.splitlines()[-1])["repeats"]["fid"]
    assert f"; FID over 3 draws of latents: {np.mean(fids):.2f}, SD {stdev(fids):.2f}" in capsys.readouterr().err


def test_a_report_has_the_draws_of_the_log(run: RunDirectory, tmp_path: Path, image_folder: Path) -> None:
    newest = run.checkpoints / "step-00000004.pt"
    sample.write_samples(newest, tmp_path / "set.zip", sample.SampleOptions(num=NUM, device="cpu"))
    out = tmp_path / "out"
    record = ask(out, newest, tmp_path / "set.zip", num=NUM, metrics=("fid",), data="digits", repeats=3)
    logged = training_evaluator.logged_scores(run)[4]["repeats"]
    generated, images = record["results"]
    assert generated["repeats"] == logged and "repeats" not in images, "an image set has no latents"
    report = evaluation_report(record, out)
    column = report.first.header.index("FID SD, 3 draws")
    assert [row[column] for row in report.first.rows] == [f"{stdev(logged['fid']):.2f}", "-"]
    assert any(note.startswith("FID SD: the standard deviation of FID over 3 draws") for note in report.first.notes)


def test_what_is_refused(run: RunDirectory, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--repeats 2: repeats fid, which --metrics leaves out"):
        ask(tmp_path, run.checkpoints, metrics=("is",), repeats=2)


def test_seeds_of_draws_differ() -> None:
    seeds = [draw_seed(seed, draw) for seed in range(20) for draw in range(20)]
    assert len(set(seeds)) == 400 and all(0 <= seed < 2**32 for seed in seeds)
