"""Complete comparisons: files, results, pages, and refused flags."""

from __future__ import annotations

import html
import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch

from gan.config.train_config import TrainConfig
from gan.errors import Diverged, UsageError
from gan.evaluation import evaluator
from gan.evaluation.options import EvaluationOptions
from gan.experiments.compare import results
from gan.experiments.compare.conclusion import conclusions
from gan.experiments.compare.experiment import run_comparison
from gan.experiments.compare.plan import ComparedTraining, ComparePlan
from gan.experiments.compare.rate_settings import LR_GRID
from gan.metrics.extractor import ExtractorOptions
from gan.runs import checkpoint
from gan.runs import log as runlog
from gan.runs.run_dir import RunDirectory
from gan.sampling import sample
from gan.training import train
from gan.training.trainer import Trainer
from tests.helpers.comparison_records import DEFAULT_SCORES
from tests.helpers.comparisons import BOTH, RUN, SMALL, compare, states
from tests.helpers.pages import Page
from tests.helpers.runs import command_line
from tests.helpers.states import same_bytes


def test_results(made: Path) -> None:
    record = json.loads((made / RUN / "report.json").read_text())
    rows = {row["norm"]: row for row in record["rows"]}
    assert list(rows) == ["sn", "msn", "bn"] and record["planned"] == 6 == len(record["trainings"])
    for norm, row in rows.items():
        own = [result for result in record["trainings"] if result["norm"] == norm]
        assert (row["seeds"], row["diverged"], row["survival"]) == (2, 0, {"ok": 2}) or row["health"]
        for result in own:
            scored = [
                entry for entry in runlog.read_log(made / RUN / result["folder"] / "log.jsonl") if "scores" in entry
            ]
            assert [entry["step"] for entry in scored] == [2, 4] == result["curve"]["step"]
            assert result["curve"]["images"] == [16, 32] and 0 < result["curve"]["seconds"][0]
            assert result["curve"]["seconds"] == [entry["seconds"] for entry in scored]
            for score in DEFAULT_SCORES:
                assert result["curve"][score] == [entry["scores"][score] for entry in scored]
                assert result["final"][score] == result["curve"][score][1]
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
    pictures = [name for name in page.ids if name.startswith("picture-")]
    assert len(pictures) == len(set(pictures)) == 1 + 6 and "page" in page.ids  # links show each enlarged, and go back
    assert "±" not in text.split("<h2>Images")[0] and "In brackets: the range" in text  # of two seeds
    assert '<span class="range">(' in text
    assert "FID by images (less is better; thin lines are single seeds)" in text
    assert not {"script", "link", "iframe"} & page.tags and "prefers-color-scheme: dark" in text
    assert all(alt and len(alt) > 10 for alt in page.alts)
    # real images, 3 norms × 2 seeds; paired differences; 7 scores × 2 axes; losses and gradient norms of D and G,
    # accuracy of D, σ
    assert len(page.alts) == 1 + 6 + 1 + 14 + 6
    assert any((alt or "").startswith("Loss of D over real images seen") for alt in page.alts)
    assert "Grid of 64 images by msn, seed 1, at step 4" in page.alts
    assert any((alt or "").startswith("FID by seconds over seconds of training: sn from") for alt in page.alts)
    markdown = (made / RUN / "report.md").read_text()
    (conclusion,) = conclusions(json.loads((made / RUN / "report.json").read_text()))
    for words in (conclusion, "Paired tests of final FID", "all arms", "generator ", "equal for all arms"):
        assert words in html.unescape(text) and words in markdown, words
    for path in markdown.split("](")[1:]:
        assert (made / RUN / path.split(")")[0]).exists()
    assert "../../samples/r/msn-seed0/step-00000004.png" in markdown
    assert "msn-gan compare r --preset quickstart --norms sn,msn,bn --seeds 2 --latent-dim 8 --g-width 4" in markdown


def test_one_score_is_tested_and_the_others_are_hints(made: Path) -> None:
    """Conclusions for many scores would claim a difference by chance."""
    tests = json.loads((made / RUN / "report.json").read_text())["paired"]
    primary = [test for test in tests if test["primary"]]
    assert [test["norms"] for test in primary] == [["sn", "msn"], ["sn", "bn"], ["msn", "bn"]]
    assert {(test["score"], test["kind"]) for test in primary} == {("fid", "final")} and len(tests) == 24
    for key in ("words", "p_holm", "least_p_holm", "significant", "seeds_needed"):
        assert all((test[key] is not None) == test["primary"] for test in tests)
    assert [(test["least_p"], test["least_p_holm"], test["significant"]) for test in primary] == [(0.5, 1, False)] * 3
    text = (made / RUN / "report.md").read_text()
    assert "No conclusion is drawn from these scores, and they are not corrected for multiple testing" in text


def test_trainings_are_ordinary_runs(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = copy / RUN / "msn-seed1"
    assert sample.write_samples(folder, copy / "a.png", sample.SampleOptions(num=4, device="cpu")).exists()
    request = EvaluationOptions((str(folder),), ExtractorOptions(features="digits", device="cpu"), num=20, seed=1)
    found, error, _ = evaluator.evaluate(request, copy / "scores")
    final = results.read_training_result(
        RunDirectory("r/msn-seed1", copy), ComparedTraining("msn", 1), _config(copy, "msn", 1), copy / RUN
    )
    assert error is None and final is not None
    assert found["results"][-1]["fid"] == final["final"]["fid"] and found["results"][-1]["kid"] == final["final"]["kid"]
    train.train_run("r/msn-seed1", None, None, {}, resume=True, dry_run=False, root=copy, device="cpu")
    assert "r/msn-seed1 is done: step 4 of 4" in capsys.readouterr().err


def _config(root: Path, norm: str, seed: int) -> TrainConfig:
    plan = ComparePlan.from_dict(json.loads((root / RUN / "config.json").read_text())["config"])
    return plan.config_of(ComparedTraining(norm, seed))


def test_the_stated_commands_train_the_same_bytes(copy: Path, tmp_path: Path) -> None:
    record = json.loads((copy / RUN / "report.json").read_text())
    result = next(result for result in record["trainings"] if result["folder"] == "msn-seed1")
    words = shlex.split(result["command"])
    assert words[:3] == ["msn-gan", "train", "r-msn-seed1"]
    assert command_line([*words[1:], "--out", str(tmp_path), "--device", "cpu"]) == 0
    alone = checkpoint.load_checkpoint(tmp_path / "checkpoints" / "r-msn-seed1" / "step-00000004.pt")
    del alone["seconds"]
    same_bytes(alone, states(copy, ["msn-seed1"])["msn-seed1"])
    assert command_line([*shlex.split(record["command"])[1:], "--out", str(copy), "--device", "cpu"]) == 0


def test_one_seed_and_one_norm(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = compare(tmp_path, **{**BOTH, "norms": ["sn"]})
    assert record["paired"] == [] and record["rows"][0]["final"]["fid"]["half_width"] is None
    text = (tmp_path / RUN / "report.md").read_text()
    assert "There is only one arm, sn, so nothing is compared." in text
    assert "A value alone is from one seed" in text and "±" not in text.split("\n- ")[0]
    record = compare(tmp_path, norms=["sn", "msn", "sn"])
    assert "--norms: sn is listed more than once; it is trained once for each seed" in capsys.readouterr().err
    assert record["config"]["norms"] == ["sn", "msn"] and len(record["trainings"]) == 2
    assert record["paired"][0]["half_width"] is None and record["paired"][0]["p"] == 1.0
    assert (
        "With 1 seed no difference can be significant: the smallest possible p is 1;"
        in (tmp_path / RUN / "report.md").read_text()
    )


def test_divergence_is_recorded_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    step = Trainer.train_step

    def exploding(self: Trainer) -> None:
        if (self.config.norm, self.config.seed, self.step) == ("sn", 0, 3):
            raise Diverged("step 4: the discriminator has diverged")
        step(self)
        if (self.config.norm, self.config.seed, self.step) == ("none", 0, 4):  # seen when it is scored
            next(self.ema.network.parameters()).data.fill_(torch.nan)

    monkeypatch.setattr(Trainer, "train_step", exploding)
    record = compare(tmp_path, **{**SMALL, "norms": ["sn", "none", "msn"], "seeds": 2})
    found = {result["folder"]: result for result in record["trainings"]}
    assert found["sn-seed0"]["diverged"]["step"] == 3 and found["none-seed0"]["diverged"]["step"] == 4
    assert "generator outputs NaN" in found["none-seed0"]["diverged"]["error"]
    assert found["sn-seed0"]["final"] is None and found["sn-seed0"]["curve"]["step"] == [2]
    assert found["sn-seed0"]["missing"] == [] == found["none-seed0"]["missing"][1:]
    assert not (tmp_path / RUN / "none-seed0" / "step-00000004.pt").exists()  # nor is it kept
    rows = {row["norm"]: row for row in record["rows"]}
    assert [(row["seeds"], row["diverged"]) for row in rows.values()] == [(2, 1), (2, 1), (2, 0)]
    assert rows["sn"]["final"]["fid"]["values"] == [found["sn-seed1"]["final"]["fid"]]
    assert record["paired"][0]["seeds_used"] == [1] and record["paired"][0]["left_out"] == [0]
    text = (tmp_path / RUN / "report.md").read_text()
    assert "sn diverged: seed 0 after step 3, lowest FID until then " in text
    assert "sn, seed 0: diverged from" in text  # a line of the charts
    assert ", because one of the two arms was not trained to the end: 0." in text
    assert "Diverged trainings, which are left out: sn 1 of 2, none 1 of 2." in text
    capsys.readouterr()
    compare(tmp_path)  # all is done: nothing is trained again
    assert "of 6: " not in capsys.readouterr().err


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
        compare(tmp_path, **{**SMALL, "lr_grid": True, "g_lr": 0.1, "n_dis": 2})
    file = tmp_path / "rates.toml"
    file.write_text("d_lr = 0.1\nsteps = 1\n")
    with pytest.raises(UsageError, match=r"--g-lr, d_lr in .*rates.toml: set by --lr-grid, in each of its settings"):
        run_comparison("r", None, file, {**SMALL, "lr_grid": True, "g_lr": 0.1}, root=tmp_path, device="cpu")
    record = compare(tmp_path, **{**SMALL, "lr_grid": True, "norms": ["sn"], "seeds": 1, "steps": 1})
    assert [row["setting"] for row in record["rows"]] == list("ABCDEF") and record["lr_grid"] == LR_GRID
    config = json.loads((tmp_path / RUN / "F-sn-seed0" / "config.json").read_text())["config"]
    assert {key: config[key] for key in LR_GRID["F"]} == LR_GRID["F"]
    text = (tmp_path / RUN / "report.md").read_text()
    assert (
        text.index("| Arm | A | B") < text.index("## At the end of training")
        and "| Arm | A | B | C | D | E | F |" in text
    )
    assert "--lr-grid" in record["command"] and "--g-lr" not in record["command"]
    page = Page((tmp_path / RUN / "report.html").read_text())
    assert page.open == [] and any("FID, setting F by images" in (alt or "") for alt in page.alts)


def test_outcome_of_a_setting() -> None:
    from gan.experiments.compare.report import _outcome

    def row(mean: float | None, **survival: int) -> dict[str, Any]:
        return {"survival": survival, "seeds": 3, "final": {"fid": {"mean": mean, "values": [mean] if mean else []}}}

    assert _outcome(row(None, diverged=3)) == "3 of 3 diverged"
    assert _outcome(row(12.345, diverged=1, collapsed=1, ok=1)) == "12.35; 1 of 3 diverged; 1 of 3 collapsed"
    assert _outcome(row(3.0, ok=3)) == "3.00"


def test_dynamics_are_sampled_and_shown(tmp_path: Path) -> None:
    """`--dynamics` works as in `train`, and the pages report which claims the runs support."""
    compare(tmp_path, **BOTH, dynamics=2)
    for name in ("sn-seed0", "msn-seed0"):
        assert [entry["step"] for entry in runlog.read_log(tmp_path / RUN / name / "dynamics.jsonl")][:3] == [0, 2, 4]
    assert "Training dynamics, by 2 runs" in (tmp_path / RUN / "report.html").read_text()


def test_flags_raised_during_training_are_reported(copy: Path) -> None:
    for name in ("sn-seed0", "sn-seed1"):
        log = copy / RUN / name / "log.jsonl"
        entries = runlog.read_log(log)
        for entry in entries:
            if "health" in entry and (entry["step"] == 2 or name == "sn-seed1"):
                entry["health"] = ["g-collapsed"]
            elif "health" in entry:
                entry["health"] = []
        log.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    row = compare(copy)["rows"][0]
    assert row["health"]["g-collapsed"] == {"raised": 2, "at_end": 1} and row["survival"] == {"ok": 1, "collapsed": 1}
    assert "g-collapsed 2/2, at the end 1" in (copy / RUN / "report.md").read_text()


@pytest.mark.parametrize(
    "flags, message",
    [
        ("--norms sn,batch", "--norms batch: choose from none, wn, sn, bssn"),
        ("--seeds 0", "--seeds 0: must be at least 1"),
        ("--report-every 0", "--report-every 0: a comparison needs scores; give the steps between evaluations"),
        ("--preset resnet-64", "--data: the preset resnet-64 has no dataset"),
        ("--preset quick", "--preset quick: choose from quickstart"),
        ("--batch 5000", "a batch of 5,000 images is more than the 1,797 of digits"),
        ("--data nowhere", "--data nowhere: no such folder, zip or npz"),
        ("--norm sn", "No such option '--norm'. Did you mean '--norms'?"),
        ("--norm-layers 99", "--norm-layers 99: this discriminator has 7 hidden convolutions"),
    ],
)
def test_bad_flags(
    flags: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    features = [] if "digits" in flags else ["--features", "digits"]
    assert command_line(["compare", "r", *features, *flags.split()]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("msn-gan: ")]
    assert len(lines) == 1 and message in lines[0]
    assert not list(tmp_path.iterdir())
