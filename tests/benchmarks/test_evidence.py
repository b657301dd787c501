"""The comparison over many seeds: what is kept, what is continued, and the tables."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import evidence
import evidence_tables
import pytest

from gan.experiments.compare.paired_test import paired_test
from gan.utils.confidence import mean_text


def _kept(folder: Path, arm: str, seed: int, fid: float | None, drift: float) -> None:
    """A file as of a training."""
    scores = {"fid": fid, "precision": 0.5, "recall": 0.4, "coverage": 0.3}
    samples = [
        {"step": step, "activations": {"a": {"drift": drift}}, "layers": {"a": {"gradient_small": 0.01 * (seed + 1)}}}
        for step in (0, 50, 100)
    ]
    curve = None if fid is None else {"step": [1200, 2400], "fid": [3 * fid, fid]}
    final = None if fid is None else {"fid": fid}
    content = {
        "training": {"norm": arm, "seed": seed, "final": final, "curve": curve, "seconds": 10.0},
        "first": None if fid is None else scores,
        "second": None if fid is None else {**scores, "fid": 2 * fid},
        "dynamics.jsonl": samples,
    }
    folder.mkdir(exist_ok=True)
    (folder / f"{arm}-seed{seed}.json").write_text(json.dumps(content))


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence_tables, "_RESAMPLES", 100)


def test_tables(tmp_path: Path) -> None:
    fids: dict[str, list[float | None]] = {"sn": [10.0, 12.0, 11.0], "msn": [13.0, 14.0, None]}
    for arm, values in fids.items():
        for seed, fid in enumerate(values):
            _kept(tmp_path, arm, seed, fid, drift=fid or 0.0)
    scores, first, second, dynamics, drift, within = evidence_tables.tables(evidence.read_kept(tmp_path))
    row = next(line for line in scores.splitlines() if line.startswith("| msn"))
    assert row.startswith("| msn | 3 | 1 | 13.50 ") and row.endswith("| 10 |")
    test = paired_test([10.0, 12.0], [13.0, 14.0])
    assert f"| msn − sn | 2 | {mean_text(test['differences'])} | {test['p']:.4f} |" in first
    assert "| msn − sn | 2 | 5.00" in second
    assert "| sn | 3 | 2 | - | - | 11 |" in dynamics
    assert drift.startswith("Drift of layer means and FID over 5 trainings: Spearman's correlation 1.00")
    assert within.startswith("The same minus the means of the arm, 5 trainings: Spearman's correlation 1.00")


def test_trainings_that_diverged_at_once_have_no_time(tmp_path: Path) -> None:
    for arm, seconds in (("sn", [10.0, None]), ("msn", [None, None])):
        for seed, value in enumerate(seconds):
            _kept(tmp_path, arm, seed, 10.0 if value else None, drift=1.0)
            path = tmp_path / f"{arm}-seed{seed}.json"
            content = json.loads(path.read_text())
            content["training"]["seconds"] = value
            path.write_text(json.dumps(content))
    scores = next(evidence_tables.tables(evidence.read_kept(tmp_path)))
    ends = {line.split(" | ")[0]: line.rpartition(" | ")[2] for line in scores.splitlines()}
    assert ends["| sn"] == "10 |" and ends["| msn"] == "- |"


def test_tables_of_some_arms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arm in ("sn", "msn", "mean"):
        for seed in range(3):
            _kept(tmp_path, arm, seed, 10.0 + seed, drift=1.0 + seed)
    evidence.main(["--table", "--keep", str(tmp_path), "--arms", "mean", "sn", "--baseline", "sn"])
    assert "| mean − sn | 3 |" in (printed := capsys.readouterr().out) and "msn" not in printed


def test_tests_against_a_baseline(tmp_path: Path) -> None:
    for arm, fid in (("sn", 10.0), ("msn", 12.0), ("mean", 15.0)):
        _kept(tmp_path, arm, 0, fid, drift=fid)
    _kept(tmp_path, "none", 0, None, drift=1.0)
    _, first, _, further, *_ = evidence_tables.tables(evidence.read_kept(tmp_path), "msn")
    assert "sn − msn" in first and "mean − msn" in first and "mean − sn" not in first
    assert further.splitlines()[2:] == [
        "| sn − msn | 1 | -6.00 | 0.000 | 0.000 | 0.000 |",
        "| mean − msn | 1 | 9.00 | 0.000 | 0.000 | 0.000 |",
    ]


def _refused(capsys: pytest.CaptureFixture[str], *flags: object) -> str:
    """The message with which a command is refused."""
    with pytest.raises(SystemExit) as caught:
        evidence.main([*map(str, flags)])
    assert caught.value.code in (1, 2)
    message = capsys.readouterr().err
    assert len(message.strip().splitlines()) == 1 or "usage" in message
    return message


def test_tables_of_nothing_and_other_baselines_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "has no trainings" in _refused(capsys, "--table", "--keep", tmp_path)
    _kept(tmp_path, "sn", 0, 10.0, drift=1.0)
    assert "choose from sn" in _refused(capsys, "--table", "--keep", tmp_path, "--baseline", "bssn")
    assert "has no trainings of bssn" in _refused(capsys, "--table", "--keep", tmp_path, "--arms", "bssn")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--second", "nonsense"), "--second nonsense: "),
        (("--features", "classifier:none.pt"), "none.pt"),
        (("--jobs", "abc"), "--jobs"),
    ],
)
def test_what_cannot_work_is_refused_before_training(
    flags: tuple[str, str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in _refused(capsys, *flags, "--out", tmp_path, "--keep", tmp_path / "kept")
    assert not list(tmp_path.iterdir())


def test_trainings_of_other_settings_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    settings = evidence.shared_settings(evidence.parse(["--keep", str(kept)]), kept)
    (kept / "settings.json").write_text(json.dumps(settings))
    assert evidence.shared_settings(evidence.parse(["--keep", str(kept), "--seeds", "9"]), kept) == settings
    flags = ["--steps", "9", "--num", "7", "--out", tmp_path, "--keep", kept]
    assert "--steps 9, --num 7: " in (message := _refused(capsys, *flags)) and "--steps 2400, --num 5000" in message
    file = kept / "settings.json"
    file.write_text(file.read_text().replace(json.loads(file.read_text())["weights"]["second"], "0" * 64))
    assert "--features digits, --second digits: has other weights" in _refused(capsys, "--keep", kept)


@pytest.mark.parametrize(
    ("kept", "jobs", "expected"),
    [([], 2, [2, 4, 5]), ([], 3, [1, 2, 3, 4, 5]), ([], "auto", [1, 2, 3, 4, 5]), (["sn-seed0"], 2, [1, 3, 5])],
)
def test_no_job_waits_for_the_last_training_of_a_seed(
    kept: list[str], jobs: int | str, expected: list[int], tmp_path: Path
) -> None:
    for name in kept:
        (tmp_path / f"{name}.json").touch()
    flags = ["--keep", tmp_path, "--arms", "sn", "msn", "mean", "--jobs", jobs, "--seeds", 5]
    assert list(evidence.seeds_to_train(evidence.parse([*map(str, flags)]), tmp_path)) == expected


def test_everything_kept_is_trained_no_more(tmp_path: Path) -> None:
    (tmp_path / "sn-seed0.json").touch()
    flags = evidence.parse(["--keep", str(tmp_path), "--arms", "sn", "--seeds", "1"])
    assert list(evidence.seeds_to_train(flags, tmp_path)) == []


@pytest.mark.slow
def test_it_continues_from_the_kept_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(seeds: int) -> str:
        small: list[Any] = ["--preset", "quickstart", "--steps", 8, "--num", 40, "--arms", "sn", "msn", "--jobs", 1]
        evidence.main([*map(str, [*small, "--seeds", seeds, "--out", tmp_path, "--keep", tmp_path / "kept"])])
        return capsys.readouterr().err

    run(1)
    before = {file.name: file.read_bytes() for file in (tmp_path / "kept").glob("*-seed0.json")}
    assert sorted(before) == ["msn-seed0.json", "sn-seed0.json"]
    assert not list((tmp_path / "checkpoints").rglob("step-*.pt"))
    assert (tmp_path / "kept" / "settings.json").exists()
    assert json.loads((tmp_path / "kept" / "config.json").read_text())["config"]["train"]["precision"] == "fp32"
    shutil.rmtree(tmp_path / "checkpoints")
    (tmp_path / "checkpoints" / "kept" / "sn-seed0").mkdir(parents=True)  # as of a command killed in `restore`
    told = run(2)
    assert "sn, seed 1" in told and "seed 0\n" not in told
    assert all((tmp_path / "kept" / name).read_bytes() == content for name, content in before.items())
    report = json.loads((tmp_path / "checkpoints" / "kept" / "report.json").read_text())
    assert len(report["trainings"]) == 4
