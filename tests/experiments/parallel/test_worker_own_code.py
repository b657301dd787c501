"""The user's own code in the processes of `--jobs`: each may run that of its training, and no other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gan.config import plugins
from gan.errors import UsageError, UserError
from gan.experiments.classify.experiment import Classification
from gan.experiments.compare.experiment import Comparison
from gan.experiments.parallel.worker import reporting
from tests.helpers.classifications import SMALL as CLASSIFY
from tests.helpers.comparisons import BOTH, RUN
from tests.helpers.own_code import MARKER, MARKING, SOURCE, write_own

OWN = {"mine": {"norm": "own.py:norm", "r1": 0.1}}


@pytest.fixture(autouse=True)
def _in_a_new_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plugins, "_allowed", set())
    monkeypatch.setattr(plugins, "_loaded", {})


def comparison(**given: object) -> Comparison:
    return Comparison("r", None, None, {**BOTH, **given}, Path(), "cpu", OWN if "norms" not in given else None)


def test_the_command_of_a_process_names_the_code_of_its_training() -> None:
    jobs = comparison()
    cells = {training.cell: training for training in jobs.plan.trainings()}
    shared = ["compare", "r", "--device", "cpu", "--only"]
    assert jobs.worker_words(cells["sn/0"], "train") == [*shared, "sn/0", "--worker", "train"]
    words = jobs.worker_words(cells["mine/0"], "measure")
    assert words == [*shared, "mine/0", "--worker", "measure", "--own-code", "own.py:norm"]


def test_the_command_of_a_process_of_classify() -> None:
    jobs = Classification("r", {**CLASSIFY, "norms": ["sn", "own.py:norm"]}, Path(), "cpu")
    plain, own = jobs.plan.trainings()
    assert "--own-code" not in jobs.worker_words(plain, "train")
    assert jobs.worker_words(own, "train")[-2:] == ["--own-code", "own.py:norm"]
    assert jobs.command_words([])[2:4] == ["--norms", "sn,own.py:norm"]


def test_code_that_no_command_named_does_not_run() -> None:
    """A run has an arm with the user's own code, and a process trains another one."""
    write_own()
    plugins.allow(["own.py:norm"])
    begun = comparison()
    begun._begin(begun.left())
    plugins._allowed.clear()
    write_own(SOURCE + MARKING)
    for arm, allowed in (("sn", True), ("mine", False)):
        worker = Comparison("r", None, None, {}, Path(), "cpu")
        worker.choose(f"{arm}/0")
        worker.in_worker = True
        if allowed:
            assert worker.train() is None and (RUN / "sn-seed0/result.json").exists()
        else:
            with pytest.raises(UsageError, match="own.py:norm: your own code, which a file names"):
                worker.train()
    assert not MARKER.exists()
    assert list(json.loads((RUN / "config.json").read_text())["config"]["arms"]) == ["mine"]


def test_a_process_may_run_what_its_parent_names(capfd: pytest.CaptureFixture[str]) -> None:
    with reporting(None, ["own.py:norm"]):
        assert not plugins._allowed
    with reporting("train", ["own.py:norm"]):
        assert plugins._allowed == {"own.py:norm"}


def test_arms_that_cannot_be_built_are_refused_before_any_training() -> None:
    """With several jobs as with one."""
    write_own(SOURCE.replace("return weight_norm(layer)", "layer.weight.data.zero_(); return layer"))
    plugins.allow(["own.py:norm"])
    norms = ["sn", "own.py:norm"]
    classification = Classification("r", {**CLASSIFY, "norms": norms}, Path(), "cpu")
    for experiment in (comparison(norms=norms), classification):
        with pytest.raises(UserError, match="own.py:norm: raw weights as under none"):
            experiment.execute(jobs=2)
        assert not RUN.exists()
