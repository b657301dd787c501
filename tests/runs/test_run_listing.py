"""The list of runs, from files as `train`, `compare` and `classify` write them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from gan.cli import main
from gan.runs.listing import list_runs


def write(path: Path, content: Any, changed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    os.utime(path, (changed, changed))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    runs = tmp_path / "checkpoints"
    train = {"preset": "best", "norm": "sn", "steps": 5000}
    write(runs / "a" / "config.json", {"config": train}, 100)
    write(runs / "a" / "best.json", {"fid": 12.345, "step": 900}, 100)
    for step in (1000, 2000):
        write(runs / "a" / f"step-{step:08d}.pt", "x" * 98, 100)
    write(tmp_path / "samples" / "a" / "real.png", "x" * 298, 100)
    compared = {"norms": ["sn", "msn"], "train": {"preset": "quickstart", "steps": 60}}
    write(runs / "b" / "config.json", {"kind": "compare", "config": compared}, 300)
    write(runs / "b" / "msn-seed0" / "config.json", {"config": train}, 200)
    write(runs / "c" / "config.json", {"kind": "classify", "config": {"model": "vgg7", "norms": ["bn"]}}, 200)
    write(runs / "other" / "config.json", ["no run"], 400)
    (runs / "a" / "step-original.pt").touch()  # of the user
    os.utime(runs / "a" / "step-original.pt", (100, 100))
    (runs / "damaged").mkdir()
    (runs / "damaged" / "config.json").write_text("{")
    return tmp_path


def test_runs_newest_first(root: Path) -> None:
    found = list_runs(root)
    assert [(run.name, run.command, run.preset, run.norms) for run in found] == [
        ("b", "compare", "quickstart", ("sn", "msn")),
        ("c", "classify", "vgg7", ("bn",)),
        ("a", "train", "best", ("sn",)),
    ]
    last = found[-1]
    assert (last.step, last.steps, last.best["fid"], last.changed) == (2000, 5000, 12.345, 100)
    assert last.size == 200 + 300 + sum(
        (root / "checkpoints/a" / name).stat().st_size for name in ("config.json", "best.json")
    )
    assert found[0].steps == found[1].steps == 0


def test_nested_names(root: Path) -> None:
    runs = root / "checkpoints"
    train = {"config": {"preset": "best", "norm": "sn", "steps": 5}}
    write(runs / "exp" / "deep" / "d" / "config.json", train, 500)
    write(runs / "a" / "e" / "config.json", train, 50)  # a run whose name continues that of another
    write(root / "samples" / "a" / "e" / "real.png", "x" * 98, 50)
    write(runs / "exp" / "f" / "config.json", {"kind": "compare", "config": {"norms": [], "train": {}}}, 450)
    write(runs / "exp" / "f" / "lr" / "sn-seed0" / "config.json", train, 450)
    found = list_runs(root)
    assert [run.name for run in found] == ["exp/deep/d", "exp/f", "b", "c", "a", "a/e"]
    assert found[-1].size == 100 + (runs / "a" / "e" / "config.json").stat().st_size


def test_the_command(root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for words, texts in (
        (["runs", "--out", str(root)], ["2,000 of 5,000", "12.35 (step 900)", "sn, msn", "vgg7"]),
        (["runs", "--out", str(root), "--json"], ['"step": 2000']),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(words)
        out = capsys.readouterr().out
        assert stopped.value.code == 0 and all(text in out for text in texts), out


def test_no_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["runs", "--out", str(tmp_path)])
    assert stopped.value.code == 0 and "no runs in" in capsys.readouterr().err
