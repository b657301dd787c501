"""Whole comparisons: what they start from, files, results, pages, going on, and everything that is refused."""

from __future__ import annotations

import dataclasses
import errno
import json
import math
import os
import shlex
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gan import checkpoint, evaluate, files, gallery, launch, runlog, snapshots
from gan.compare import results
from gan.compare.experiment import compare
from gan.compare.plan import LR_GRID, CompareConfig, Plan, Training, unlike
from gan.compare.start import raw_weights, start_of
from gan.config import TrainConfig
from gan.data import ImageSet
from gan.errors import UsageError, UserError
from gan.health import Diverged
from gan.looking import Looking
from gan.norm import NORMS
from gan.runs import RunFolder
from gan.runtime import Runtime
from gan.trainer import Trainer
from tests.conftest import TINY
from tests.runs import command_line, plain_chart
from tests.test_report import Page
from tests.test_resume import same_bytes

SMALL: dict[str, Any] = {**TINY, "channels": 1, "report_every": 2, "report_num": 20, "keep": 1}
BOTH = {**SMALL, "norms": ["sn", "msn"], "seeds": 1}
RUN = Path("checkpoints/r")


def states(root: Path, names: list[str], step: int = 4) -> dict[str, Any]:
    """The last checkpoints of some trainings, but for the time that they took."""
    found = {}
    for name in names:
        found[name] = checkpoint.load(root / RUN / name / f"step-{step:08d}.pt")
        del found[name]["seconds"]
    return found


def ask(root: Path, **given: Any) -> dict[str, Any]:
    assert compare("r", None, None, given, root=root, device="cpu") is None
    return json.loads((root / RUN / "report.json").read_text())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three norms, two seeds: left alone."""
    root = tmp_path_factory.mktemp("made")
    ask(root, **{**SMALL, "norms": ["sn", "msn", "bn"], "seeds": 2})
    return root


@pytest.fixture(autouse=True)
def _plain_charts(monkeypatch: pytest.MonkeyPatch) -> None:
    """But for `made`, whose charts are drawn: they take most of the time."""
    monkeypatch.setattr("gan.pages.chart", plain_chart)


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "copy"))


@pytest.mark.parametrize("network", ["dcgan", "resnet"])
def test_all_norms_start_alike(
    network: str, tiny: Callable[..., TrainConfig], runtime: Runtime, image_set: Callable[..., ImageSet]
) -> None:
    """The networks and inputs that a plan gives: equal but for the norm, and for what the norm owns."""
    norms = tuple(NORMS)
    settings = tiny(network=network, conditional=True, flip=True, n_dis=2)
    plan = Plan(CompareConfig(norms=norms, seeds=2), settings)
    assert [(one.seed, one.norm) for one in plan.trainings()] == [(seed, norm) for seed in (0, 1) for norm in norms]
    data = image_set()
    jobs = [Trainer(plan.config_of(one), runtime, data) for one in plan.trainings()]
    for first, job in ((jobs[0], job) for job in jobs[1 : len(norms)]):
        assert unlike(first.config, job.config) == [f"--norm: none -> {job.config.norm}"]
        same_bytes(dict(first.generator.state_dict()), dict(job.generator.state_dict()))
        same_bytes(list(raw_weights(first.discriminator)), list(raw_weights(job.discriminator)))
        for step in (0, 7):
            pair = [trained.inputs.draws(step, own_latents=True) for trained in (first, job)]
            same_bytes(*([tensor for draw in draws for tensor in draw.tensors()] for draws in pair))
        assert start_of(job) == start_of(first)
    other = start_of(jobs[len(norms)])  # of another seed
    assert all(other[part] != value for part, value in start_of(jobs[0]).items())
    count = len(list(raw_weights(jobs[0].discriminator)))
    assert count == sum(name.endswith("weight") for name, _ in jobs[0].discriminator.named_parameters())


def test_a_start_that_differs_is_seen(
    tiny: Callable[..., TrainConfig], runtime: Runtime, image_set: Callable[..., ImageSet]
) -> None:
    job = Trainer(tiny(), runtime, image_set())
    before = start_of(job)
    next(raw_weights(job.discriminator))[0, 0, 0, 0] += 1e-3
    after = start_of(job)
    assert after["discriminator"] != before["discriminator"] and after["generator"] == before["generator"]


def test_results(made: Path) -> None:
    record = json.loads((made / RUN / "report.json").read_text())
    rows = {row["norm"]: row for row in record["rows"]}
    assert list(rows) == ["sn", "msn", "bn"] and record["planned"] == 6 == len(record["trainings"])
    for norm, row in rows.items():
        own = [result for result in record["trainings"] if result["norm"] == norm]
        assert (row["seeds"], row["diverged"], row["survival"]) == (2, 0, {"ok": 2}) or row["health"]
        for result in own:
            scored = [entry for entry in runlog.read(made / RUN / result["folder"] / "log.jsonl") if "scores" in entry]
            assert [entry["step"] for entry in scored] == [2, 4] == result["curve"]["step"]
            assert result["curve"]["images"] == [16, 32] and 0 < result["curve"]["seconds"][0]
            assert result["curve"]["seconds"] == [entry["seconds"] for entry in scored]
            for score in results.SCORES:
                assert result["curve"][score.key] == [entry["scores"][score.key] for entry in scored]
                assert result["final"][score.key] == result["curve"][score.key][1]
            assert result["best"]["fid"] == min(result["curve"]["fid"]) and result["missing"] == []
        for kind in ("final", "best"):
            a, b = (result[kind]["fid"] for result in own)
            found = row[kind]["fid"]
            assert found["values"] == [a, b] and found["mean"] == pytest.approx((a + b) / 2)
            # Student's t for one degree of freedom, from a table
            assert found["half_width"] == pytest.approx(12.7062 * abs(a - b) / 2, rel=1e-4)
        assert row["images_per_second"] > 0 and row["seconds"] > 0
        assert row["peak_memory"] is None or row["peak_memory"] > 1e7
    assert rows["sn"]["added_parameters"] == 0 == rows["msn"]["added_parameters"]
    assert rows["bn"]["added_parameters"] == 4 + 4 + 8 + 8 + 16 + 16 + 32  # two for each channel, and no bias
    test = next(test for test in record["paired"] if (test["score"], test["kind"]) == ("fid", "final"))
    assert test["norms"] == ["sn", "msn"] and test["seeds_used"] == [0, 1] and test["left_out"] == []
    differences = [
        b - a for a, b in zip(*(rows[norm]["final"]["fid"]["values"] for norm in ("sn", "msn")), strict=True)
    ]
    assert test["difference"] == pytest.approx(sum(differences) / 2)
    assert record["protocol"]["extractor"] == "digits" and record["protocol"]["generated_count"] == 20
    assert record["warnings"] == []
    starts = [
        {tuple(result["start"].values()) for result in record["trainings"] if result["seed"] == k} for k in (0, 1)
    ]
    assert [len(found) for found in starts] == [1, 1] and starts[0] != starts[1]


def test_drawn_pages(made: Path) -> None:
    text = (made / RUN / "report.html").read_text()
    page = Page(text)
    assert page.open == [] and all(link.startswith(("data:", "#")) for link in page.links)
    assert not {"script", "link", "iframe"} & page.tags and "prefers-color-scheme: dark" in text
    assert all(alt and len(alt) > 10 for alt in page.alts)
    # real images, 3 norms × 2 seeds; 5 scores × 2 axes; gradient norms of D and G, σ
    assert len(page.alts) == 1 + 6 + 10 + 3
    assert "Grid of 64 images by msn, seed 1, at step 4" in page.alts
    assert any((alt or "").startswith("FID by seconds over seconds of training: sn from") for alt in page.alts)
    markdown = (made / RUN / "report.md").read_text()
    test = json.loads((made / RUN / "report.json").read_text())["paired"][0]
    for words in (test["words"], "Paired test: msn against sn", "generator ", "alike in all"):
        assert words.replace("'", "&#x27;") in text and words in markdown, words
    for path in markdown.split("](")[1:]:
        assert (made / RUN / path.split(")")[0]).exists()
    assert "../../samples/r/msn-seed0/step-00000004.png" in markdown
    assert "msn-gan compare r --preset quickstart --norms sn,msn,bn --seeds 2 --latent-dim 8 --g-width 4" in markdown


def test_trainings_are_ordinary_runs(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = copy / RUN / "msn-seed1"
    assert gallery.write(folder, copy / "a.png", num=4, device="cpu").exists()
    request = evaluate.Request((str(folder),), Looking(features="digits", device="cpu"), num=20, seed=1)
    found, error = evaluate.report(request, copy / "scores")
    final = results.read(RunFolder("r/msn-seed1", copy), Training("msn", 1), _config(copy, "msn", 1), copy / RUN)
    assert error is None and final is not None
    assert found["results"][-1]["fid"] == final["final"]["fid"] and found["results"][-1]["kid"] == final["final"]["kid"]
    launch.train("r/msn-seed1", None, None, {}, resume=True, dry_run=False, root=copy, device="cpu")
    assert "r/msn-seed1 is done: step 4 of 4" in capsys.readouterr().err


def _config(root: Path, norm: str, seed: int) -> TrainConfig:
    plan = Plan.from_dict(json.loads((root / RUN / "config.json").read_text())["config"])
    return plan.config_of(Training(norm, seed))


def test_the_stated_commands_train_the_same_bytes(made: Path, tmp_path: Path) -> None:
    record = json.loads((made / RUN / "report.json").read_text())
    result = next(result for result in record["trainings"] if result["folder"] == "msn-seed1")
    words = shlex.split(result["command"])
    assert words[:3] == ["msn-gan", "train", "r-msn-seed1"]
    assert command_line([*words[1:], "--out", str(tmp_path), "--device", "cpu"]) == 0
    alone = checkpoint.load(tmp_path / "checkpoints" / "r-msn-seed1" / "step-00000004.pt")
    del alone["seconds"]
    same_bytes(alone, states(made, ["msn-seed1"])["msn-seed1"])
    assert command_line([*shlex.split(record["command"])[1:], "--out", str(made), "--device", "cpu"]) == 0


def test_norms_and_seeds_can_be_added(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = {path: path.read_bytes() for path in (copy / RUN).glob("*/step-*.pt")}
    capsys.readouterr()
    record = ask(copy, norms=["none", "msn"])
    told = capsys.readouterr().err
    assert "r, 2 of 2: none, seed 1" in told and "of 3: " not in told
    assert [row["norm"] for row in record["rows"]] == ["none", "msn", "sn", "bn"] and len(record["trainings"]) == 8
    assert record["paired"][0]["norms"] == ["none", "msn"]
    assert {path: path.read_bytes() for path in kept} == kept
    more = ask(copy, norms=["msn", "sn"], seeds=3)  # seeds are counted for the norms that are asked for
    assert [result["folder"] for result in more["trainings"] if result["seed"] == 2] == ["msn-seed2", "sn-seed2"]
    assert more["paired"][0]["norms"] == ["msn", "sn"] and more["paired"][0]["seeds"] == 3
    assert more["planned"] == 12 and "**10 of 12 trainings are done.**" in (copy / RUN / "report.md").read_text()


def test_contradictions_are_refused_with_a_diff(copy: Path) -> None:
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match="RUN r: exists already, and these settings would change it") as caught:
        ask(copy, **{**SMALL, "steps": 6, "g_lr": 0.01, "report_num": 30, "norms": ["wn"]})
    assert str(caught.value).splitlines()[1:] == [
        "  --steps: 4 -> 6",
        "  --g-lr: 0.0002 -> 0.01",
        "  --report-num: 20 -> 30",
    ]
    with pytest.raises(UsageError, match="these settings would change it.*\n  --lr-grid: False -> True"):
        ask(copy, lr_grid=True)
    with pytest.raises(UsageError, match="--preset msn-dcgan: the run r was begun with quickstart"):
        compare("r", "msn-dcgan", None, {}, root=copy, device="cpu")
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before
    ask(copy, precision="auto", keep=2)  # what it meant when the run began; keep decides nothing


def test_one_seed_and_one_norm(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = ask(tmp_path, **{**BOTH, "norms": ["sn"]})
    assert record["paired"] == [] and record["rows"][0]["final"]["fid"]["half_width"] is None
    text = (tmp_path / RUN / "report.md").read_text()
    assert "One norm only: there is nothing to hold it against, and no paired test." in text
    assert "A mean without ± is that of one seed" in text and "±" not in text.split("\n- ")[0]
    capsys.readouterr()
    record = ask(tmp_path, norms=["sn", "msn", "sn"])
    assert "--norms: sn is listed more than once; it is trained once for each seed" in capsys.readouterr().err
    assert record["config"]["norms"] == ["sn", "msn"] and len(record["trainings"]) == 2
    assert record["paired"][0]["half_width"] is None and record["paired"][0]["p"] == 1.0
    assert "with one seed: that has no interval and no test." in (tmp_path / RUN / "report.md").read_text()


def test_divergence_is_recorded_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    step = Trainer.train_step

    def exploding(self: Trainer) -> None:
        if (self.config.norm, self.config.seed, self.step) == ("sn", 0, 3):
            raise Diverged("step 4: the discriminator has diverged")
        step(self)
        if (self.config.norm, self.config.seed, self.step) == ("none", 0, 4):  # seen when it is scored
            next(self.average.network.parameters()).data.fill_(torch.nan)

    monkeypatch.setattr(Trainer, "train_step", exploding)
    record = ask(tmp_path, **{**SMALL, "norms": ["sn", "none", "msn"], "seeds": 2})
    found = {result["folder"]: result for result in record["trainings"]}
    assert found["sn-seed0"]["diverged"]["step"] == 3 and found["none-seed0"]["diverged"]["step"] == 4
    assert "generator gives NaN" in found["none-seed0"]["diverged"]["error"]
    assert found["sn-seed0"]["final"] is None and found["sn-seed0"]["curve"]["step"] == [2]
    assert found["sn-seed0"]["missing"] == [] == found["none-seed0"]["missing"][1:]
    assert not (tmp_path / RUN / "none-seed0" / "step-00000004.pt").exists()  # nor is it kept
    rows = {row["norm"]: row for row in record["rows"]}
    assert [(row["seeds"], row["diverged"]) for row in rows.values()] == [(2, 1), (2, 1), (2, 0)]
    assert rows["sn"]["final"]["fid"]["values"] == [found["sn-seed1"]["final"]["fid"]]
    assert record["paired"][0]["seeds_used"] == [1] and record["paired"][0]["left_out"] == [0]
    text = (tmp_path / RUN / "report.md").read_text()
    assert "sn, seed 0 diverged after step 3; its lowest FID until then: " in text
    assert "sn, seed 0: diverged from" in text  # a line of the charts
    assert "Seeds left out, for want of one of the two at its end: 0." in text
    capsys.readouterr()
    ask(tmp_path)  # all is done: nothing is trained again
    assert "of 6: " not in capsys.readouterr().err


def test_another_network_of_scores_is_refused(copy: Path) -> None:
    log = copy / RUN / "sn-seed0" / "log.jsonl"
    text = log.read_text()
    weights = json.loads((copy / RUN / "report.json").read_text())["protocol"]["weights"]
    log.write_text(text.replace(weights, "0" * 64))
    for given in ({}, {"norms": ["wn"]}):
        with pytest.raises(UserError, match="not measured alike .weights: 000000000000 against|scored with another"):
            ask(copy, **given)
    assert not (copy / RUN / "wn-seed0").exists()
    log.write_text(text)
    assert len(ask(copy)["trainings"]) == 6


def test_missing_scores(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The last is made up, one before it is told of."""
    log = copy / RUN / "sn-seed0" / "log.jsonl"
    whole = log.read_text()
    lines = [line for line in whole.splitlines(keepends=True) if '"scores"' not in line]
    log.write_text("".join(lines))
    (copy / "samples" / "r" / "msn-seed0" / "step-00000004.png").unlink()
    capsys.readouterr()
    record = ask(copy)
    assert "r, 1 of 1: sn, seed 0" in capsys.readouterr().err
    found = {result["folder"]: result for result in record["trainings"]}
    assert found["sn-seed0"]["missing"] == [2] and found["sn-seed0"]["curve"]["step"] == [4]
    assert log.read_text().splitlines()[-1] == whole.splitlines()[-1]
    assert record["warnings"] == [
        "sn-seed0 has no score at step 2; the curves leave that out.",
        "msn-seed0 has no sample grid, so none is shown.",
    ]


def test_folders_changed_by_hand(copy: Path) -> None:
    def refused(message: str) -> None:
        with pytest.raises(UserError, match=message):
            ask(copy)

    names = [path.name for path in (copy / RUN).glob("*-seed?")]
    whole = states(copy, names)
    folder = copy / RUN / "msn-seed0"
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config.replace('"g_lr": 0.0002', '"g_lr": 0.5'))
    refused(r"msn-seed0: has other settings than the comparison \(--g-lr: 0.5 -> 0.0002\); remove this folder, and")
    (folder / "config.json").write_text("{")
    refused("msn-seed0/config.json: cannot be read .*; remove this folder")
    (folder / "config.json").write_text(config)
    (folder / "result.json").write_text("[]")
    refused(r"msn-seed0: is damaged \(result.json: .*; remove this folder")
    (folder / "result.json").unlink()
    (folder / "step-00000004.pt").write_bytes(b"no checkpoint")
    (folder / "step-00000002.pt").unlink(missing_ok=True)
    refused("msn-seed0: none of its checkpoints is whole; remove this folder")
    shutil.rmtree(folder)
    launch.train("r/sn-seed0", None, None, {"steps": 6}, resume=True, dry_run=False, root=copy, device="cpu")
    refused("sn-seed0: has gone on to step 6, beyond 4; remove this folder")
    shutil.rmtree(copy / RUN / "sn-seed0")
    assert ask(copy)["warnings"] == []
    same_bytes(states(copy, names), whole)


def test_other_images_are_refused(tmp_path: Path, image_folder: Path) -> None:
    given = {**BOTH, "channels": 3, "data": str(image_folder), "report_features": "digits"}
    ask(tmp_path, **given)
    moved = image_folder.rename(image_folder.with_name("elsewhere"))
    next(moved.rglob("*.png")).unlink()
    with pytest.raises(UserError, match=r"RUN r: its images were others \(24 of .*\); restore them, or choose"):
        ask(tmp_path, data=str(moved), seeds=2)


def test_a_full_disk(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever cannot be written: one line, nothing half-written, and the same command goes on."""
    sync, calls = os.fsync, [0]
    failing = (3, 7, 10)

    def full(descriptor: int) -> None:
        calls[0] += 1
        if calls[0] in failing:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(files.os, "fsync", full)
    failed = 0
    for _ in failing:
        with pytest.raises((UserError, OSError), match="No space left on device"):
            ask(tmp_path, **BOTH)
        failed += 1
        assert not list(tmp_path.rglob("*.partial"))
    assert failed == len(failing)
    record = ask(tmp_path, **BOTH)
    assert len(record["trainings"]) == 2 and record["warnings"] == []
    same_bytes(states(tmp_path, ["sn-seed0", "msn-seed0"]), states(made, ["sn-seed0", "msn-seed0"]))


@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_while_scoring(
    presses: int, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real, calls = snapshots.score, []

    def interrupted(*args: Any, **options: Any) -> dict[str, Any]:
        calls.append(1)
        if len(calls) == 3:
            for _ in range(presses):
                os.kill(os.getpid(), signal.SIGINT)
        return real(*args, **options)

    monkeypatch.setattr(snapshots, "score", interrupted)
    if presses == 1:
        assert compare("r", None, None, BOTH, root=tmp_path, device="cpu") == signal.SIGINT
        told = capsys.readouterr()
        assert "msn, seed 0: stopped at step 2 of 4, saved" in told.err
        assert told.err.rstrip().endswith(f" compare r --out {tmp_path} --device cpu")
        assert "1 of 2 trainings are done." in told.out
    else:
        with pytest.raises(SystemExit):
            compare("r", None, None, BOTH, root=tmp_path, device="cpu")
    record = ask(tmp_path)
    assert [result["missing"] for result in record["trainings"]] == [[], []]
    same_bytes(states(tmp_path, ["sn-seed0", "msn-seed0"]), states(made, ["sn-seed0", "msn-seed0"]))
    first = json.loads((made / RUN / "report.json").read_text())["trainings"][:2]
    for again, whole in zip(record["trainings"], first, strict=True):
        assert {**again["final"], "seconds": 0} == {**whole["final"], "seconds": 0}


def test_the_grid_of_settings(tmp_path: Path) -> None:
    assert LR_GRID["A"] == {"g_lr": 1e-4, "d_lr": 1e-4, "beta1": 0.5, "beta2": 0.9, "n_dis": 5}
    assert [tuple(rates.values())[1:] for rates in list(LR_GRID.values())[1:]] == [
        (1e-4, 0.5, 0.999, 1),
        (2e-4, 0.5, 0.999, 1),
        (1e-3, 0.5, 0.9, 5),
        (1e-3, 0.5, 0.999, 5),
        (1e-3, 0.9, 0.999, 5),
    ]
    with pytest.raises(UsageError, match="--g-lr, --n-dis: set by --lr-grid, in each of its settings; leave out"):
        ask(tmp_path, **{**SMALL, "lr_grid": True, "g_lr": 0.1, "n_dis": 2})
    record = ask(tmp_path, **{**SMALL, "lr_grid": True, "norms": ["sn"], "seeds": 1, "steps": 1})
    assert [row["setting"] for row in record["rows"]] == list("ABCDEF") and record["lr_grid"] == LR_GRID
    config = json.loads((tmp_path / RUN / "F-sn-seed0" / "config.json").read_text())["config"]
    assert {key: config[key] for key in LR_GRID["F"]} == LR_GRID["F"]
    text = (tmp_path / RUN / "report.md").read_text()
    assert (
        text.index("| Norm | A | B") < text.index("## At the end of training")
        and "| Norm | A | B | C | D | E | F |" in text
    )
    assert "--lr-grid" in record["command"] and "--g-lr" not in record["command"]
    page = Page((tmp_path / RUN / "report.html").read_text())
    assert page.open == [] and any("FID, setting F by images" in (alt or "") for alt in page.alts)


def test_what_a_setting_comes_to() -> None:
    from gan.compare.view import _outcome

    def row(mean: float | None, **survival: int) -> dict[str, Any]:
        return {"survival": survival, "seeds": 3, "final": {"fid": {"mean": mean, "half_width": None}}}

    assert _outcome(row(None, diverged=3)) == "3 of 3 diverged"
    assert _outcome(row(12.345, diverged=1, collapsed=1, ok=1)) == "12.35; 1 of 3 diverged; 1 of 3 collapsed"
    assert _outcome(row(3.0, ok=3)) == "3.00"


def test_dynamics_are_sampled_and_shown(tmp_path: Path) -> None:
    """`--dynamics` comes along with the flags of train, and the pages say which claims the runs support."""
    ask(tmp_path, **BOTH, dynamics=2)
    for name in ("sn-seed0", "msn-seed0"):
        assert [entry["step"] for entry in runlog.read(tmp_path / RUN / name / "dynamics.jsonl")][:3] == [0, 2, 4]
    assert "Training dynamics, by 2 runs" in (tmp_path / RUN / "report.html").read_text()


def alts(root: Path) -> list[str | None]:
    return Page((root / RUN / "report.html").read_text()).alts


def test_flags_raised_while_training_are_told(copy: Path) -> None:
    for name in ("sn-seed0", "sn-seed1"):
        log = copy / RUN / name / "log.jsonl"
        entries = runlog.read(log)
        for entry in entries:
            if "health" in entry and (entry["step"] == 2 or name == "sn-seed1"):
                entry["health"] = ["g-collapsed"]
            elif "health" in entry:
                entry["health"] = []
        log.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    row = ask(copy)["rows"][0]
    assert row["health"]["g-collapsed"] == {"raised": 2, "at_end": 1} and row["survival"] == {"ok": 1, "collapsed": 1}
    assert "g-collapsed 2/2, at the end 1" in (copy / RUN / "report.md").read_text()


def test_snapshots_are_a_tenth_of_the_steps(tmp_path: Path) -> None:
    given = {key: value for key, value in BOTH.items() if key != "report_every"}
    record = ask(tmp_path, **{**given, "norms": ["none"], "steps": 20, "checkpoint_every": 20, "log_every": 20})
    assert record["trainings"][0]["curve"]["step"] == list(range(2, 21, 2))


@pytest.mark.parametrize(
    "flags, message",
    [
        ("--norms sn,batch", "--norms batch: choose from none, bn, ln, in, wn, mean, sn, msn, msn-affine"),
        ("--seeds 0", "--seeds 0: must be at least 1"),
        ("--report-every 0", "--report-every 0: a comparison is made of scores; give the steps between them"),
        ("--preset resnet-64", "--data: the preset resnet-64 has no data of its own"),
        ("--preset quick", "--preset quick: choose from quickstart"),
        ("--batch 5000", "a batch of 5000 images is more than the 1797 that digits has"),
        ("--data nowhere", "--data nowhere: no such folder or zip"),
        ("--norm sn", "No such option '--norm'. (Did you mean one of: '--network', '--norm-layers', '--norms'?)"),
        ("--norm-layers 99", "--norm-layers 99: this discriminator has 7 hidden convolutions"),
    ],
)
def test_bad_flags(
    flags: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    features = [] if "digits" in flags else ["--report-features", "digits"]
    assert command_line(["compare", "r", *features, *flags.split()]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("msn-gan: ")]
    assert len(lines) == 1 and message in lines[0]
    assert not list(tmp_path.iterdir())


def test_a_run_of_another_command(tmp_path: Path) -> None:
    launch.train("r", None, None, {**TINY, "channels": 1}, resume=False, dry_run=False, root=tmp_path, device="cpu")
    with pytest.raises(UsageError, match="RUN r: is a run of another command .*choose another name"):
        ask(tmp_path, **BOTH)


def test_settings_round_trip() -> None:
    plan = Plan(CompareConfig(norms=("sn", "msn"), seeds=4, lr_grid=True), TrainConfig(g_lr=1e-3, norm="bn", seed=7))
    assert Plan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan
    assert (plan.train.norm, plan.train.seed) == ("none", 0)
    assert dataclasses.replace(plan, which=CompareConfig(norms=("bn",), seeds=1)).united(plan).which == CompareConfig(
        norms=("bn", "sn", "msn"), seeds=4
    )
    assert len(list(plan.trainings())) == 2 * 4 * 6 and math.prod((2, 4, 6)) == 48
