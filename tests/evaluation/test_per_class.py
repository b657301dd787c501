"""`report --per-class`: the scores of a class are those of its folder; labels that do not match are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import gan
from gan.data.image_set import ImageSet
from gan.data.loading import load_images
from gan.errors import UserError
from gan.evaluation.report import evaluation_report, write_evaluation_report
from gan.metrics import score as scoring
from gan.report.terminal import print_report
from gan.runs import checkpoint
from gan.sampling import sample
from tests.helpers.commands import Call, refused
from tests.helpers.reports import ask, trained

CLASSES = "abc"
FEW = ("fid", "pr")


def write_set(folder: Path, images: ImageSet, numbers: Any, names: str = CLASSES, turn: int = 0) -> Path:
    """Write images of the digits 0, 1 and 2 into folders of their classes, which are moved on by `turn`."""
    assert images.labels is not None
    for index in numbers:
        own = folder / names[(int(images.labels[index]) + turn) % 3]
        own.mkdir(parents=True, exist_ok=True)
        Image.fromarray(images.fetch(torch.tensor([index]))[0, 0].numpy()).save(own / f"{index:04d}.png")
    return folder


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two halves of three digits in folders `real` and `target`, the second also with labels moved on by a class."""
    root = tmp_path_factory.mktemp("sets")
    images = load_images("digits", resolution=8, channels=1)
    assert images.labels is not None
    chosen = (images.labels < 3).nonzero()[:, 0].tolist()
    write_set(root / "real", images, chosen[::2])
    write_set(root / "target", images, chosen[1::2])
    write_set(root / "swapped", images, chosen[1::2], turn=1)
    return root


@pytest.fixture(scope="module")
def conditional(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A conditional run on the digits, two checkpoints."""
    return trained(tmp_path_factory.mktemp("conditional"), channels=1, conditional=True, report_every=0)


def test_a_class_scores_what_its_folder_scores(sets: Path, tmp_path: Path) -> None:
    flags: dict[str, Any] = {"metrics": FEW, "num": None}
    record = ask(tmp_path / "all", sets / "target", data=str(sets / "real"), per_class=True, **flags)
    (result,) = record["results"]
    assert [row["name"] for row in result["classes"]] == list(CLASSES)
    assert record["settings"]["per_class"] is True
    for row in result["classes"]:
        alone = ask(
            tmp_path / row["name"], sets / "target" / row["name"], data=str(sets / "real" / row["name"]), **flags
        )
        (expected,) = alone["results"]
        assert {key: row[key] for key in ("fid", "precision", "recall")} == {
            key: expected[key] for key in ("fid", "precision", "recall")
        }
        assert row["real_count"] == expected["protocol"]["reference_count"]
        assert row["generated_count"] == expected["protocol"]["generated_count"]
    plain = ask(tmp_path / "plain", sets / "target", data=str(sets / "real"), **flags)["results"][0]
    assert {key: result[key] for key in ("fid", "precision", "recall")} == {
        key: plain[key] for key in ("fid", "precision", "recall")
    }
    assert "classes" not in plain


def test_swapped_labels_score_worse(sets: Path, tmp_path: Path) -> None:
    """The same images: the scores of the whole set are equal, those of each class are not."""
    record = ask(
        tmp_path / "out",
        sets / "target",
        sets / "swapped",
        data=str(sets / "real"),
        per_class=True,
        metrics=FEW,
        num=None,
    )
    right, swapped = record["results"]
    assert swapped["fid"] == pytest.approx(right["fid"], rel=1e-6)
    for row, other in zip(right["classes"], swapped["classes"], strict=True):
        assert other["fid"] > 5 * row["fid"] and other["precision"] < row["precision"]


def test_classes_are_matched_by_name(sets: Path, tmp_path: Path) -> None:
    """A dataset.json with the classes in another order; and a random part of the images keeps their labels."""
    images = load_images(str(sets / "target"), resolution=8, channels=1)
    assert images.labels is not None
    array = images.fetch(torch.arange(len(images))).numpy()[:, 0]
    rows = []
    folder = tmp_path / "flat"
    folder.mkdir()
    for index, (pixels, label) in enumerate(zip(array, images.labels.tolist(), strict=True)):
        Image.fromarray(pixels).save(folder / f"{index:04d}.png")
        rows.append([f"{index:04d}.png", 2 - label])
    (folder / "dataset.json").write_text(json.dumps({"labels": rows, "classes": ["c", "b", "a"]}))
    flags: dict[str, Any] = {"data": str(sets / "real"), "per_class": True, "metrics": FEW, "num": 100}
    first = ask(tmp_path / "a", folder, **flags)["results"][0]
    second = ask(tmp_path / "b", sets / "target", **flags)["results"][0]
    assert first["classes"] == second["classes"]
    assert sum(row["generated_count"] for row in first["classes"]) == 100


def test_arrays_with_labels(tmp_path: Path) -> None:
    images = load_images("digits", resolution=8, channels=1)
    assert images.labels is not None
    pixels = images.fetch(torch.arange(len(images))).numpy()[:, 0]
    np.savez(tmp_path / "all.npz", images=pixels, labels=images.labels.numpy())
    result = ask(tmp_path / "out", tmp_path / "all.npz", data="digits", per_class=True, metrics=FEW, num=None)[
        "results"
    ][0]
    assert [row["fid"] for row in result["classes"]] == pytest.approx([0] * 10, abs=1e-8)
    assert all(row["precision"] == row["recall"] == 1 for row in result["classes"])


def test_a_conditional_checkpoint_scores_what_its_pngs_score(conditional: Path, tmp_path: Path) -> None:
    newest = checkpoint.list_checkpoints(conditional)[-1]
    sample.write_samples(newest, tmp_path / "set.zip", sample.SampleOptions(num=70, device="cpu"))
    record = ask(tmp_path / "out", newest, tmp_path / "set.zip", data="digits", num=70, per_class=True, metrics=FEW)
    generated, images = record["results"]
    assert generated["classes"] == images["classes"]
    assert [row["generated_count"] for row in generated["classes"]] == [7] * 10


def test_features_are_extracted_once(sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[str] = []
    extract = scoring.extract_features

    def counting(images: Any, *args: Any, **options: Any) -> Any:
        passes.append(images.name)
        return extract(images, *args, **options)

    monkeypatch.setattr(scoring, "extract_features", counting)
    names = [str(sets / "real"), str(sets / "target")]
    for _ in range(2):  # cached statistics have no features
        passes.clear()
        ask(tmp_path / "out", names[1], data=names[0], per_class=True, metrics=("fid",), num=None, overwrite=True)
        assert passes == names


def test_pages(conditional: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    newest = checkpoint.list_checkpoints(conditional)[-1]
    sample.write_samples(newest, tmp_path / "set.zip", sample.SampleOptions(num=35, seed=1, device="cpu"))
    record = ask(tmp_path / "out", conditional, tmp_path / "set.zip", num=33, per_class=True, data="digits")
    report = write_evaluation_report(tmp_path / "out")
    (table,) = report.tables
    assert table.heading == "Scores of each class" and [row[0] for row in table.rows] == [str(n) for n in range(10)]
    assert table.header[:4] == ("Class", "Real images", "r, step 4: images", "r, step 4: FID ↓")
    assert not any("step 2" in name for name in table.header) and table.header[-1] == "set.zip: Coverage ↑"
    notes = "\n".join(table.notes)
    assert "Of a run, the last checkpoint is shown" in notes and "singular" in notes and "shown as -" in notes
    generated = record["results"][1]["classes"]
    worst = max(generated, key=lambda row: row["fid"])
    assert report.summary[0].startswith(f"Worst class of r, step 4: {worst['name']} (FID {worst['fid']:.2f}, ")
    (chart,) = report.first_charts
    assert chart.caption == "FID of each class (less is better)" and f"{worst['fid']:.4g}" in chart.alt
    print_report(report)
    printed = capsys.readouterr().out
    for text in (printed, *((tmp_path / "out" / f"report.{kind}").read_text() for kind in ("md", "html"))):
        assert "Scores of each class" in text and report.summary[0] in text.replace("\n", " ")
    assert "<svg" in (tmp_path / "out" / "report-images" / "chart-1.svg").read_text()


def test_the_best_target_of_each_class_is_marked(sets: Path, tmp_path: Path) -> None:
    record = ask(
        tmp_path / "a", sets / "target", sets / "target" / ".." / "real", data=str(sets / "real"), per_class=True
    )
    first, second = record["results"]
    for row, other in zip(first["classes"], second["classes"], strict=True):
        row["generated_count"] = other["generated_count"] = 13
        row["fid"], other["fid"] = 2.0, 0.5
    table = evaluation_report(record, tmp_path).tables[0]
    assert table.header[:4] == ("Class", "Real images", "Scored images", "target: FID ↓")
    column = table.header.index("real: FID ↓")
    assert {(row, column) for row in range(3)} <= table.best and (0, 3) not in table.best
    assert table.rows[0][column] == "0.5000"


def test_each_named_protocol_has_a_table_and_a_chart(sets: Path, tmp_path: Path) -> None:
    record = ask(tmp_path / "a", sets / "target", data=str(sets / "real"), per_class=True)
    (row,) = record["results"]
    low = [{**entry, "fid": entry["fid"] / 2} for entry in row["classes"]]
    record["protocols"] = []
    record["results"] = [{**row, "named_protocol": "a"}, {**row, "named_protocol": "b", "classes": low}]
    report = evaluation_report(record, tmp_path)
    assert [table.heading for table in report.tables] == [f"Scores of each class, {name}" for name in "ab"]
    assert [chart.caption.split(" (")[0] for chart in report.first_charts] == [f"FID of each class, {n}" for n in "ab"]
    assert report.summary[0].startswith("Worst class of target, a: ") and ", b: " in report.summary[1]
    assert float(report.tables[0].rows[0][3]) == pytest.approx(2 * float(report.tables[1].rows[0][3]), abs=0.02)
    assert not any("last checkpoint" in note for table in report.tables for note in table.notes)


def test_many_classes_are_cut(sets: Path, tmp_path: Path) -> None:
    record = ask(tmp_path / "a", sets / "target", data=str(sets / "real"), per_class=True, num=None)
    entry = record["results"][0]["classes"][0]
    record["results"][0]["classes"] = [{**entry, "name": f"n{n}", "fid": float(n)} for n in range(150)]
    report = evaluation_report(record, tmp_path)
    assert len(report.tables[0].rows) == 100 and report.tables[0].rows[0][0] == "n149"
    assert any("100 worst of 150 classes" in note for note in report.tables[0].notes)
    assert report.first_charts[0].caption.startswith("FID of each class, the 40 worst of 150")


def test_from_python(sets: Path) -> None:
    (result,) = gan.score(sets / "target", data=sets / "real", per_class=True, metrics="fid", features="digits")
    assert [row.name for row in result.classes] == list(CLASSES)
    assert result.classes[0].precision is None and (result.classes[0].fid or 0) > 0
    assert any("of all 3 classes" in line for line in result.warnings)
    assert not gan.score(sets / "target", data=sets / "real", metrics="fid", features="digits")[0].classes


REFUSED = {
    "statistics": (["labelled", "--ref", "x.npz"], 2, "--per-class: needs the real images and their labels (--data)"),
    "metrics": (["labelled", "--data", "digits", "--metrics", "is,kid"], 2, "--metrics is,kid: add one"),
    "real": (["labelled", "--data", "flat"], 1, "--per-class: the real images flat have no labels"),
    "target": (["flat", "--data", "labelled"], 1, "--per-class: flat has no labels; put each class into a sub-folder"),
    "classes": (
        ["labelled", "--data", "digits"],
        1,
        "--per-class: labelled and digits have different classes: only labelled has a, b, c; only digits has 0, 1, "
        "2, 3, 4 and 5 more",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(call: Call, sets: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "extract_features", None)  # before any work
    Path("labelled").symlink_to(sets / "target")
    Path("flat").mkdir()
    for path in (sets / "target").rglob("*.png"):
        (Path("flat") / path.name).write_bytes(path.read_bytes())
    arguments, code, part = REFUSED[name]
    refused(call, code, part, command=("report", "--per-class", "--features", "digits", *arguments))


def test_an_unconditional_generator_is_refused(tmp_path: Path) -> None:
    run = trained(tmp_path, channels=1, report_every=0)
    with pytest.raises(UserError, match=r"--per-class: .*step-00000002.pt has an unconditional generator"):
        ask(tmp_path / "out", run, data="digits", per_class=True)
    assert not (tmp_path / "out").exists()
