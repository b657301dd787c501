"""Scores by protocols of the literature: their counts, what contradicts them, and one table of several."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import gan
from gan.errors import UsageError, UserError
from gan.evaluation import evaluator, named_protocols
from gan.evaluation.named_protocols import NAMED_PROTOCOLS, NamedProtocol, options_of
from gan.evaluation.options import EvaluationOptions
from gan.evaluation.report import evaluation_report, write_evaluation_report
from gan.metrics.extractor import ExtractorOptions
from gan.metrics.preprocess import PREPROCESS
from tests.helpers.commands import Call
from tests.helpers.reports import DIGITS, trained

SMALL = {
    "40-train": NamedProtocol(40, "train", None, 2, "A (arXiv 1)", "digits", None),
    "20-30-test": NamedProtocol(20, "test", 30, 1, "B (arXiv 2)", "digits", None),
}
PART = NamedProtocol(20, "train", 30, 1, "C (arXiv 3)", "digits", None)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Protocols of few images in digits features, except in tests of the real ones."""
    if "real_ones" not in request.node.name:
        for name in list(NAMED_PROTOCOLS):
            monkeypatch.delitem(NAMED_PROTOCOLS, name)
        for name, protocol in SMALL.items():
            monkeypatch.setitem(NAMED_PROTOCOLS, name, protocol)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("grey"), channels=1, report_every=0)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of 36 training and 33 test images."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 36), ("test", 33)):
        (tmp_path / "data" / split).mkdir(parents=True)
        for index in range(count):
            pixels = rng.integers(0, 256, (32, 32), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / split / f"{index:02d}.png")
    return tmp_path / "data"


def evaluated(out: Path, *targets: Path, **flags: Any) -> dict[str, Any]:
    flags = {"extractor": ExtractorOptions(device="cpu"), "as_protocol": tuple(SMALL), **flags}
    record, error, _ = evaluator.evaluate(EvaluationOptions(tuple(map(str, targets)), **flags), out)
    assert error is None
    return record


def test_several_protocols_are_rows_of_one_table(tmp_path: Path, run: Path, data: Path) -> None:
    record = evaluated(tmp_path / "out", run / "step-00000004.pt", data=str(data))
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == record
    first, second = record["results"]
    assert [row["named_protocol"] for row in record["results"]] == ["40-train", "20-30-test"]
    for row, expected in ((first, (40, "train", 36, 2)), (second, (20, "test", 30, 1))):
        protocol = row["protocol"]
        keys = ("generated_count", "reference_split", "reference_count", "is_splits")
        assert tuple(protocol[key] for key in keys) == expected
    assert first["fid"] != second["fid"] and "kid" not in first
    assert first["protocol"]["reference_content"] != second["protocol"]["reference_content"]
    assert (record["planned"], record["settings"]["as"]) == (2, list(SMALL))

    report = write_evaluation_report(tmp_path / "out")
    assert report.first.header[-1] == "Protocol" and not report.first.best
    assert [row[-1] for row in report.first.rows] == ["40-train", "20-30-test"]
    inception = report.first.header.index("Inception score ↑")
    assert "±" in report.first.rows[0][inception] and "±" not in report.first.rows[1][inception]
    notes = "\n".join(report.first.notes)
    assert "40-train: 40 generated against all training images; A (arXiv 1)." in notes
    assert "20-30-test: 20 generated against 30 test images; B (arXiv 2)." in notes
    assert "Compare only rows of the same protocol" in notes and "FID falls as the number" in notes
    assert "same letter" not in notes
    assert dict(report.facts)["generated count"] == "40-train: 40; 20-30-test: 20"
    assert len(report.grids) == 2  # the real images and the generated ones, once


def test_a_row_is_what_the_flags_give(tmp_path: Path, run: Path, data: Path) -> None:
    target = run / "step-00000004.pt"
    named = evaluated(tmp_path / "a", target, data=str(data), as_protocol=("40-train",))["results"][0]
    flags = EvaluationOptions((str(target),), DIGITS, data=str(data), num=40, metrics=("fid", "is"))
    plain = evaluator.score_targets(flags)["results"][0]
    assert named["fid"] == plain["fid"] and named["protocol"] != plain["protocol"]  # other splits of the IS
    assert "named_protocol" not in plain


def test_one_name_is_a_table_with_its_column(tmp_path: Path, run: Path, data: Path) -> None:
    record = evaluated(tmp_path / "out", run, data=str(data), as_protocol=("40-train",))
    report = evaluation_report(record, tmp_path / "out")
    assert [row[-1] for row in report.first.rows] == ["40-train", "40-train"] and report.first.best
    assert not any("Compare only rows" in note for note in report.first.notes)


def test_a_run_by_two_protocols_has_a_line_for_each(tmp_path: Path, run: Path, data: Path) -> None:
    record = evaluated(tmp_path / "out", run, data=str(data))
    assert [(row["step"], row["named_protocol"]) for row in record["results"]] == [
        (2, "40-train"),
        (4, "40-train"),
        (2, "20-30-test"),
        (4, "20-30-test"),
    ]
    assert [row["grid"] for row in record["results"]] == [f"report-images/00{number}.png" for number in (1, 2, 3, 4)]
    charts = " ".join(figure.svg or "" for figure in evaluation_report(record, tmp_path / "out").charts)
    assert "r, 40-train" in charts and "r, 20-30-test" in charts


def test_a_part_of_the_training_images_is_of_the_training_images(
    tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(NAMED_PROTOCOLS, "part", PART)
    record = evaluated(tmp_path / "out", run / "step-00000004.pt", as_protocol=("part",))
    assert not [line for line in record["results"][0]["warnings"] if "was trained on" in line]
    assert (record["reference"]["images"], record["reference"]["conversions"]) == (30, {"enlarged": 30})


@pytest.mark.parametrize(
    "flags, message",
    [
        ({"as_protocol": ("40-train", "x")}, "--as x: no such protocol; choose from 40-train, 20-30-test"),
        ({"num": 30}, r"--as 40-train: contradicts --num 30 \(its own: 40\)"),
        ({"split": "test"}, r"--as 40-train: contradicts --split test \(its own: train\)"),
        ({"extractor": ExtractorOptions("clip")}, r"contradicts --features clip \(its own: digits\)"),
        ({"extractor": ExtractorOptions(preprocess="clean")}, r"contradicts --preprocess clean \(its own: none\)"),
        ({"extractor": ExtractorOptions(precision="bf16")}, r"contradicts --precision bf16 \(its own: fp32\)"),
        ({"ref": Path("a.npz"), "metrics": ("fid",)}, "contradicts --ref;"),
        ({"mixed_protocols": True}, "contradicts --mixed-protocols;"),
        ({"num": 40}, r"--as 20-30-test: contradicts --num 40 \(its own: 20\)"),
    ],
)
def test_contradicting_flags(flags: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        EvaluationOptions(("t",), **{"as_protocol": tuple(SMALL), **flags}).check()
    assert "\n" not in str(error.value)


def test_agreeing_flags() -> None:
    extractor = ExtractorOptions("digits")
    EvaluationOptions(("t",), extractor, num=20, split="test", as_protocol=("20-30-test",)).check()


def test_too_few_real_images(tmp_path: Path, run: Path, data: Path) -> None:
    for path in sorted((data / "test").iterdir())[:4]:
        path.unlink()
    message = "^--as 20-30-test: data has 29 images in its test split; the protocol needs 30$"
    with pytest.raises(UserError, match=message):
        evaluated(tmp_path / "out", run, data=str(data))
    assert not (tmp_path / "out").exists()


def test_too_few_scored_images(tmp_path: Path, image_folder: Path) -> None:
    with pytest.raises(UserError, match="images: has 24 images, fewer than --as 40-train: 40"):
        evaluated(tmp_path / "out", image_folder, data="digits")


def test_a_set_without_a_test_split(tmp_path: Path, run: Path, image_folder: Path) -> None:
    for name in (str(image_folder), "digits"):
        with pytest.raises(UserError, match="^--as 20-30-test: .* has no test split; put its images into the folders"):
            evaluated(tmp_path / "out", run, data=name)


def test_from_python(run: Path, data: Path) -> None:
    report = gan.score(run / "step-00000004.pt", data=data, as_protocol="40-train,20-30-test", device="cpu")
    assert [scores.as_protocol for scores in report] == list(SMALL)
    assert [scores.protocol.generated_count for scores in report] == [40, 20]
    with pytest.raises(UsageError, match="--as 40-train: contradicts --num 9"):
        gan.score(run, num=9, as_protocol=["40-train"], device="cpu")
    with pytest.raises(UsageError, match="contradicts --split train"):
        gan.score(run, split="train", as_protocol=["20-30-test"], device="cpu")


def test_the_real_ones_name_no_other_features_if_the_weights_are_missing(run: Path, data: Path, tmp_path: Path) -> None:
    missing = ExtractorOptions(device="cpu", weights=tmp_path / "none.pth")
    with pytest.raises(UserError) as raised:
        evaluator.score_targets(EvaluationOptions((str(run),), missing, str(data), as_protocol=("50k-train",)))
    assert "none.pth" in str(raised.value) and "classify" not in str(raised.value)


def test_the_command(call: Call, run: Path, data: Path) -> None:
    code, error = call("report", run / "step-00000004.pt", "--data", data, "--as", "40-train,20-30-test", "--out", "o")
    assert code == 0, error
    assert "| 40-train" in Path("o/report.md").read_text()
    code, error = call("report", run, "--data", data, "--as", "20-30-test", "--split", "train")
    assert code != 0 and "--as 20-30-test: contradicts --split train (its own: test)" in error


def test_the_real_ones_are_complete() -> None:
    assert {"50k-train", "10k-test", "5k-10k-test"} <= set(NAMED_PROTOCOLS)
    for name, protocol in NAMED_PROTOCOLS.items():
        assert protocol.generated >= 5_000 and protocol.split in ("train", "test") and protocol.serves
        assert protocol.features == "inception" and protocol.preprocess in PREPROCESS
        own = options_of(EvaluationOptions(("t",), as_protocol=(name,)), name)
        own.check()  # a protocol's own options do not contradict it
        assert (own.num, own.split, own.scores) == (protocol.generated, protocol.split, named_protocols.NAMED_METRICS)


def test_the_real_ones_are_in_the_documentation() -> None:
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
    for name, protocol in NAMED_PROTOCOLS.items():
        (row,) = (line for line in page.splitlines() if line.startswith(f"| `{name}`"))
        cells = [cell.strip() for cell in row.split("|")]
        reference = "all" if protocol.reference is None else f"{protocol.reference:,}"
        assert cells[2:6] == [f"{protocol.generated:,}", reference, protocol.split, str(protocol.is_splits)]
