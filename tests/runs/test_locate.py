"""What is said of a folder without checkpoints of its own: what is in it, and the command that works."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from gan.errors import UserError
from gan.runs.command_line import program_name
from gan.runs.locate import describe_contents, find_checkpoint
from tests.helpers.commands import Call, refused

FILES = Path(__file__).parent.parent / "compatibility" / "files"


def experiment(folder: Path, kind: str, *files: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"kind": kind}))
    for name in files:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    return folder


def test_a_comparison(tmp_path: Path) -> None:
    names = [f"{norm}-seed{seed}" for norm in ("msn", "sn") for seed in (0, 1)]
    folder = experiment(tmp_path / "d", "compare", *(f"{name}/step-00000004.pt" for name in names))
    (folder / "msn-seed0" / "step-00000002.pt").touch()
    listed = "is a comparison (`compare`) of 4 runs (msn-seed0, msn-seed1, sn-seed0 and 1 more)"
    for command in ("sample", "export"):
        advice = f"choose one: {program_name()} {command} {folder}/msn-seed0"
        assert describe_contents(folder, command) == f"{listed}; {advice}"
    again = f"to score the runs again: {program_name()} report {folder}/*-seed*"
    assert describe_contents(folder, "report") == f"{listed}; {again}"
    (folder / "report.html").touch()
    assert describe_contents(folder, "report") == f"{listed}; its scores are in {folder}/report.html; {again}"


def test_classifiers(tmp_path: Path) -> None:
    folder = experiment(tmp_path / "d", "classify", "bn-lr0.1-seed0/classifier.pt", "sn-lr0.1-seed0/step-00000003.pt")
    text = describe_contents(folder, "report")
    file = "bn-lr0.1-seed0/classifier.pt"
    assert text == (
        f"contains classifiers of `classify` ({file}), which generate no images; to score images in their features: "
        f"--features classifier:{folder}/{file}"
    )
    (folder / "classify.html").touch()
    assert f"; their accuracies are in {folder}/classify.html; " in str(describe_contents(folder, "report"))
    assert str(describe_contents(folder, "sample")).endswith("; choose a run of `train` or `compare`")
    assert "contains classifiers of `classify` (classifier.pt)" in str(
        describe_contents(folder / "bn-lr0.1-seed0", "report")
    )


def test_runs_and_unfinished_experiments(tmp_path: Path) -> None:
    assert "no checkpoint yet" in str(describe_contents(experiment(tmp_path / "c", "compare"), "report"))
    assert "without a trained classifier" in str(describe_contents(experiment(tmp_path / "k", "classify"), "sample"))
    experiment(tmp_path / "all" / "d", "compare", "sn-seed0/step-00000004.pt")
    experiment(tmp_path / "all" / "cats", "train", "step-00000004.pt")
    assert describe_contents(tmp_path / "all", "report") == (
        f"contains 2 runs (cats, d/sn-seed0); choose one: {program_name()} report {tmp_path}/all/cats"
    )


def test_other_folders(tmp_path: Path, image_folder: Path) -> None:
    assert describe_contents(image_folder, "report") is None
    for content in ("damaged", "[]", '{"kind": 3}'):
        (image_folder / "config.json").write_text(content)
        assert describe_contents(image_folder, "report") is None
    with pytest.raises(UserError, match="images: contains no checkpoint"):
        find_checkpoint(image_folder, "sample")


@pytest.mark.parametrize("command", ["sample", "report", "export"])
def test_the_command_says_what_works(call: Call, command: str) -> None:
    shutil.copytree(FILES / "comparison" / "checkpoints" / "r", "checkpoints/r")
    told = "checkpoints/r: is a comparison (`compare`) of 2 runs (msn-seed0, sn-seed0)"
    works = f"{command} checkpoints/r/" + ("*-seed*" if command == "report" else "msn-seed0")
    refused(call, 2, told, works, command=(command, "checkpoints/r"))


def test_a_classifier_is_an_extractor(call: Call) -> None:
    shutil.copytree(FILES / "classification" / "checkpoints" / "r", "checkpoints/r")
    file = "checkpoints/r/none-lr0.01-seed0/classifier.pt"
    for command in ("sample", "report"):
        refused(call, 2, "contains classifiers of `classify`", command=(command, "checkpoints/r"))
        advice = "is not a checkpoint of a GAN (kind: classifier); to score images in its features: report --features "
        refused(call, 1, f"{advice}classifier:{file}", command=(command, file))
