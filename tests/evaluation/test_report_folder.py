"""Where a report goes: no report of another question is replaced unless the user says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gan.errors import UsageError, UserError
from gan.evaluation import evaluator
from gan.evaluation.evaluator import evaluate
from gan.evaluation.options import EvaluationOptions
from gan.evaluation.report import write_evaluation_report
from gan.evaluation.report_folder import default_report_folder, reserved
from gan.runs import checkpoint
from tests.helpers.reports import DIGITS, ask, trained


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run on the digits with the checkpoints 2 and 4, in the current folder."""
    monkeypatch.chdir(tmp_path)
    trained(tmp_path, channels=1, report_every=0)
    return Path("checkpoints/r")


def test_a_report_is_replaced_on_request_only(tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it: no grid of a former target stays."""
    out = tmp_path / "out"
    ask(out, run, metrics=("is",))
    write_evaluation_report(out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    (out / "notes.txt").write_text("mine")
    with monkeypatch.context() as patch:
        patch.setattr(evaluator, "read_checkpoint_targets", lambda *_, **__: pytest.fail("work has started"))
        with pytest.raises(UsageError, match=r"--out .*out: contains report.json, report.md, .*; --overwrite replaces"):
            ask(out, run / "step-00000004.pt", metrics=("is",))
    assert all(path.read_bytes() == content for path, content in before.items())
    ask(out, run / "step-00000004.pt", metrics=("is",), overwrite=True)
    assert sorted(path.name for path in out.iterdir()) == ["notes.txt", "report-images", "report.json"]
    assert [path.name for path in (out / "report-images").iterdir()] == ["001.png"]


def test_an_overwriting_report_that_fails_leaves_the_older_one(
    tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(tmp_path / "out", run, metrics=("is",))
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}

    def broken(*_: Any, **__: Any) -> None:
        raise UserError("it broke")

    monkeypatch.setattr(evaluator, "score", broken)
    with pytest.raises(UserError, match="it broke"):
        ask(tmp_path / "out", run, metrics=("is",), overwrite=True)
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before


def test_each_question_has_a_folder(run: Path, image_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def folder(*targets: Path, **flags: Any) -> str:
        flags = {"num": 20, "metrics": ("is",), **flags}
        return str(evaluate(EvaluationOptions(tuple(map(str, targets)), DIGITS, **flags), None).folder)

    assert folder(run) == folder(run) == "reports/r"  # the same question again
    assert "another report" not in capsys.readouterr().err
    assert folder(run, metrics=("fid", "is")) == "reports/r-2"
    assert "reports/r has another report; this one goes to reports/r-2" in capsys.readouterr().err
    assert folder(run, num=21) == "reports/r-3"
    assert folder(run, seed=1) == "reports/r-4"
    assert folder(run, image_folder) == "reports/r-5"
    assert folder(run, metrics=("fid", "is")) == "reports/r-2"
    assert folder(run / "step-00000004.pt") == "reports/r/step-00000004"
    # with one checkpoint less it is another question: the scores of the absent one stay
    (run / "step-00000002.pt").unlink()
    assert folder(run) == "reports/r-6"
    assert len(json.loads(Path("reports/r/report.json").read_text())["results"]) == 2


def test_overwrite_without_out_replaces_the_report_of_the_target(run: Path) -> None:
    options = EvaluationOptions((str(run),), DIGITS, num=20, metrics=("is",))
    assert evaluate(options, None).folder == Path("reports/r")
    options = EvaluationOptions((str(run),), DIGITS, num=21, metrics=("is",))
    assert evaluate(options, None, overwrite=True).folder == Path("reports/r")


def test_other_reports_are_not_taken_for_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Damaged ones, those of older versions, which have no hash, and parts of a report."""
    monkeypatch.chdir(tmp_path)
    for name, content in (("r", "{}"), ("r-2", "damaged"), ("r-3", "[]"), ("r-4", '{"question": "b"}')):
        Path("reports", name).mkdir(parents=True)
        Path("reports", name, "report.json").write_text(content)
    Path("reports/r-5").mkdir()
    Path("reports/r-5/report.html").touch()
    Path("reports/r-6").mkdir()
    assert default_report_folder(Path("r"), "a") == Path("reports/r-6")
    assert default_report_folder(Path("r"), "b") == Path("reports/r-4")


def test_nothing_is_left_of_a_report_that_fails(run: Path) -> None:
    state = checkpoint.load_checkpoint(run / "step-00000004.pt")
    for value in state["average"].values():
        if value.is_floating_point():
            value.fill_(float("nan"))
    checkpoint.save_checkpoint(Path("nan.pt"), state)
    with pytest.raises(UserError, match="NaN"):
        evaluate(EvaluationOptions(("nan.pt",), DIGITS, num=20, metrics=("is",)), None)
    assert not Path("reports").exists()


def test_two_reports_at_once_have_two_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first = default_report_folder(Path("r"), "question")
    with reserved(first):
        assert default_report_folder(Path("r"), "question") == Path("reports/r-2")
        with pytest.raises(UserError, match="reports/r: another process is writing a report there"), reserved(first):
            pass
    assert default_report_folder(Path("r"), "question") == first == Path("reports/r")
    assert not list(tmp_path.iterdir())
