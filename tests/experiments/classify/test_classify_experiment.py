"""Complete experiments: files, results, pages, and refused flags."""

from __future__ import annotations

import json
import math
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch

from gan.cli import main
from gan.errors import UserError
from gan.experiments.classify import dry_run, results
from gan.experiments.classify.config import ClassifyConfig
from gan.experiments.classify.experiment import run_classification
from gan.experiments.classify.report import classification_report
from gan.experiments.classify.trainer import ClassifierTrainer
from gan.metrics.extractor import ExtractorOptions
from gan.metrics.extractors import create_extractor
from gan.models.classifiers import classifier_from_state
from gan.runs import checkpoint
from gan.runs import log as runlog
from tests.helpers.classifications import RUN, SMALL, Run, before_each_step
from tests.helpers.pages import Page
from tests.helpers.runs import command_line
from tests.helpers.states import same_bytes


def test_results(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    record = run(**SMALL, norms=["none", "bn", "msn"], lr=[0.01], seeds=3)
    rows = {row["norm"]: row for row in record["rows"]}
    assert list(rows) == ["none", "bn", "msn"] and record["planned"] == 9 == len(record["trainings"])
    for norm, row in rows.items():
        assert (row["seeds"], row["diverged"], row["lr"]) == (3, 0, 0.01)
        for kind in ("final", "best"):
            values = [result[kind]["test_accuracy"] for result in record["trainings"] if result["norm"] == norm]
            mean = sum(values) / 3
            spread = math.sqrt(sum((value - mean) ** 2 for value in values) / 2)
            assert row[f"{kind}_test_accuracy"] == pytest.approx(mean) and row[f"{kind}_test_accuracy_values"] == values
            # Student's t for two degrees of freedom, from a table
            half = row[f"{kind}_test_accuracy_half_width"]
            assert half == pytest.approx(4.3027 * spread / math.sqrt(3), rel=1e-4, abs=1e-12)
        assert row["step_seconds"] > 0
    assert rows["none"]["added_parameters"] == 0 == rows["msn"]["added_parameters"]
    assert rows["bn"]["added_parameters"] == 16 + 32 + 32  # two for each channel, and no bias
    output = capsys.readouterr()
    assert "msn, lr 0.01, seed 2: test accuracy" in output.err and "wrote checkpoints/r/classify.html" in output.err
    assert "cnn3 on digits, under 3 norms" in output.out and " ± " not in output.out
    low, high = (100 * limit(rows["none"]["final_test_accuracy_values"]) for limit in (min, max))
    assert f"({low:.2f} to {high:.2f})" in (RUN / "classify.md").read_text()


def test_the_stated_command_trains_the_same_bytes(run: Run) -> None:
    """Also after flags were left out and trainings added."""
    run(**SMALL, norms=["none"], lr=[0.01], optimizer="sgd", weight_decay=1e-5)
    record = run(norms=["msn"])
    words = shlex.split(record["command"])
    assert words[:3] == ["msn-gan", "classify", "r"] and words[words.index("--norms") + 1] == "none,msn"
    assert command_line([*words[1:], "--device", "cpu"]) == 0  # it goes on: all is done
    assert command_line([*words[1:], "--device", "cpu", "--out", "elsewhere"]) == 0
    assert json.loads(("elsewhere" / RUN / "classify.json").read_text())["config"] == record["config"]
    for result in record["trainings"]:
        weights = [
            checkpoint.load_checkpoint(root / RUN / result["folder"] / "classifier.pt")["weights"]
            for root in (Path(), Path("elsewhere"))
        ]
        same_bytes(*weights)


def test_files(run: Run) -> None:
    run(**SMALL, norms=["msn"], lr=[0.01])
    config = json.loads((RUN / "config.json").read_text())
    assert config["config"]["norms"] == ["msn"] and config["data"]["train"]["images"] == 40
    assert config["config"]["channels"] == 1 and config["versions"]["torch"]
    folder = RUN / "msn-lr0.01-seed0"
    log = runlog.read_log(folder / "log.jsonl")
    assert [entry["epoch"] for entry in log] == [1, 2]
    keys = {
        "train_loss",
        "train_accuracy",
        "test_loss",
        "test_accuracy",
        "seconds",
        "images_per_second",
        "step_seconds",
    }
    assert keys <= set(log[0]) and all(log[0][key] > 0 for key in keys - {"train_accuracy", "test_accuracy"})
    state = checkpoint.load_checkpoint(folder / "classifier.pt")
    network = classifier_from_state(state, folder)
    assert state["classes"] == [str(digit) for digit in range(10)] and network.resolution == 8
    assert not list(folder.glob("step-*"))


def test_pages(run: Run) -> None:
    record = run(**SMALL, norms=["none", "msn"], lr=[0.01, 0.001], seeds=2)
    page = Page((RUN / "classify.html").read_text())
    assert page.open == [] and all(link.startswith(("data:", "#")) for link in page.links)
    assert not {"script", "link", "iframe"} & page.tags
    assert len(page.alts) == 2 * 3  # for each rate: accuracy, test loss, training loss
    assert any("Test accuracy, %, lr 0.01 over epochs: none from" in (alt or "") for alt in page.alts)
    markdown = (RUN / "classify.md").read_text()
    assert "| Norm | lr | Final test accuracy, % |" in markdown and "## Settings" in markdown
    assert "In brackets: the range (lowest to highest) of fewer than 4 seeds" in markdown and "±" not in markdown
    assert "trainings done" not in markdown
    view = classification_report(record)
    assert len(view.first.rows) == 4 and view.first.heading == "Results" and view.stopped is None
    assert all((RUN / "classify-images" / f"chart-{number}.svg").exists() for number in range(1, 7))


def test_a_single_seed_has_no_interval(run: Run) -> None:
    record = run(**SMALL, norms=["none"], lr=[0.01])
    assert record["rows"][0]["final_test_accuracy_half_width"] is None
    markdown = (RUN / "classify.md").read_text()
    assert "±" not in markdown.split("\n- ")[0] and "A value alone is from one seed" in markdown


def test_divergence_is_recorded_and_the_others_go_on(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    record = run(**SMALL, norms=["none", "bn"], lr=[1e30, 0.01])
    lost, kept = record["rows"][0], record["rows"][2]
    assert (lost["norm"], lost["lr"], lost["diverged"], lost["final_test_accuracy"]) == ("none", 1e30, 1, None)
    assert kept["diverged"] == 0 and kept["final_test_accuracy"] is not None
    result = next(result for result in record["trainings"] if (result["norm"], result["lr"]) == ("none", 1e30))
    assert result["diverged"] == {"step": 2, "epoch": 1} and result["final"] is None
    assert not (RUN / "none-lr1e+30-seed0" / "classifier.pt").exists()
    output = capsys.readouterr()
    assert "none, lr 1e+30, seed 0: diverged in epoch 1, step 2: the loss is not finite" in output.err
    assert "none, lr 1e+30, seed 0 diverged in epoch 1, step 2." in output.out.replace("\n", " ")
    run()  # it is done: nothing is trained again
    assert "diverged in epoch" not in capsys.readouterr().err


def test_a_damaged_log_is_named(run: Run) -> None:
    run(**SMALL, norms=["none"], lr=[0.01])
    folder = RUN / "none-lr0.01-seed0"
    (folder / "log.jsonl").write_text('{"step": 1}\n')
    with pytest.raises(UserError, match="none-lr0.01-seed0: damaged files .*; remove this folder to train it again"):
        results.read_classify_result(folder)


def test_the_norms_of_one_seed_see_the_same_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the same order, with equal shifts and mirroring, for all norms and learning rates; other seeds differ."""
    seen: dict[Any, list[Any]] = {}

    def keep(trainer: ClassifierTrainer) -> None:
        batch = trainer.batches.at(trainer.step)
        seen.setdefault(trainer.training, []).append((batch.images.clone(), batch.labels.clone()))

    before_each_step(monkeypatch, keep)
    given = {**SMALL, "channels": 3, "norms": ["none", "bn", "msn"], "lr": [0.01, 0.001], "seeds": 2}
    assert run_classification("r", given, root=tmp_path, device="cpu") is None
    first, *others = seen
    assert len(seen) == 12 and len(seen[first]) == 4
    for training in others:
        if training.seed == first.seed:
            same_bytes(seen[training], seen[first])
        else:
            pairs = zip(seen[training], seen[first], strict=True)
            assert not any(torch.equal(images, of_first) for (images, _), (of_first, _) in pairs)


def test_a_trained_network_scores_images(run: Run, image_folder: Path) -> None:
    """`report --features classifier:` reads the file that `classify` writes."""
    given = {**SMALL, "model": "vgg7", "resolution": 32, "epochs": 1, "norms": ["msn"], "lr": [0.01]}
    run(**given)
    network = RUN / "msn-lr0.01-seed0" / "classifier.pt"
    flags = ["--data", image_folder, "--features", f"classifier:{network}", "--metrics", "fid", "--out", "scores"]
    with pytest.raises(SystemExit) as stopped:
        main([str(word) for word in ["report", image_folder, *flags, "--device", "cpu"]])
    assert not stopped.value.code
    result = json.loads(Path("scores/report.json").read_text())["results"][0]
    assert result["protocol"]["layer"] == "vgg7 penultimate (256), logits (10)"
    assert result["fid"] == pytest.approx(0, abs=1e-3)  # the same images
    # A FID of 0 in the features of a classifier that guesses: the report says how good it is.
    accuracy = runlog.read_log(network.parent / "log.jsonl")[-1]["test_accuracy"]
    quality = f"{accuracy:.2%} of 355 test images of digits; trained on 40 images of digits"
    assert accuracy < 0.5 and result["protocol"]["extractor_accuracy"] == quality
    assert any(
        f"is a poor classifier, {accuracy:.0%} of its test images are right" in line for line in result["warnings"]
    )
    page = Path("scores/report.html").read_text()
    assert "extractor accuracy" in page and quality in page and "is a poor classifier" in page
    assert create_extractor(ExtractorOptions(f"classifier:{network}")).dimension == 256


@pytest.mark.parametrize(
    "flags, code, message",
    [
        ("--model vgg", 2, "--model vgg: choose from cnn3, vgg7, densenet-bc, resnet18, resnet20"),
        ("--norms bn,batch", 2, "--norms batch: choose from none, wn, sn, bssn"),
        ("--lr 0.1,0", 2, "--lr 0.0: must be above 0"),
        ("--lr much", 2, "'much' is not a list of numbers such as 0.1,0.01"),
        ("--model vgg7 --resolution 16", 2, "--model vgg7: too deep for images of 16 pixels; use --resolution 32 or m"),
        ("--model resnet18 --resolution 8 --norms none,in,bn", 2, "--norms in: the last maps of resnet18 have one pos"),
        ("--model resnet18 --resolution 8 --norms bn --batch 1", 2, "use --resolution 9 or more or --batch 2 or more"),
        ("--batch 5000", 2, "--batch 5000: more than the 1,442 training images; use --batch 1442 or less"),
        ("--data nowhere", 2, "--data nowhere: no such folder, zip or npz"),
        ("--test-data nowhere", 2, "--test-data nowhere: no such folder, zip or npz"),
        ("--device mps", 2, "--device mps: torch finds no Apple GPU"),
    ],
)
def test_bad_flags(
    flags: str,
    code: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(["classify", "r", *flags.split()])
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("msn-gan: ")]
    assert stopped.value.code == code and len(lines) == 1 and message in lines[0]
    assert not list(tmp_path.iterdir())


def test_time_of_recomputed_statistics_in_a_dry_run() -> None:
    """Two epochs of 4 steps: the first has only 4 batches to recompute them over."""
    for count, expected in ((0, 0), (3, 6), (50, 4 + 8)):
        config = ClassifyConfig(epochs=2, precise_stats=count)
        assert dry_run._retaken_in_all(config, 8) == expected
