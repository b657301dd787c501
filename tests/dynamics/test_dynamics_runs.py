"""Sampled runs: unchanged weights, samples that continue after a kill, figures in reports."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gan.cli import main
from gan.config.train_config import TrainConfig
from gan.data.image_set import ImageSet
from gan.dynamics.callback import DYNAMICS_LOG, DynamicsCallback
from gan.dynamics.measure import DynamicsMeter
from gan.dynamics.probe_batches import DiscriminatorProbe
from gan.errors import UsageError, UserError
from gan.experiments.classify import loop
from gan.experiments.classify.config import ClassifyConfig
from gan.experiments.classify.experiment import run_classification
from gan.experiments.classify.trainer import ClassifierTrainer
from gan.models import build_discriminator, build_generator
from gan.runs import checkpoint, log
from gan.runs.run_dir import RunDirectory
from gan.training import train as launch
from tests.conftest import TINY
from tests.helpers.classifications import before_each_step
from tests.helpers.pages import Page
from tests.helpers.states import same_bytes

GAN: dict[str, Any] = {**TINY, "steps": 5, "norm": "msn", "channels": 1, "report_every": 0, "dynamics": 2}
CLASSIFIERS: dict[str, Any] = {
    "model": "cnn3",
    "resolution": 8,
    "norms": ["none", "sn", "msn"],
    "lr": [0.01],
    "epochs": 2,
    "batch": 16,
    "limit": 60,
    "precision": "fp32",
    "dynamics": 3,
}


def train(root: Path, flags: dict[str, Any], *, resume: bool = False) -> Path:
    run = launch.train_run("r", None, None, flags, resume=resume, dry_run=False, root=root, device="cpu")
    assert run.stopped is None
    return root / "checkpoints" / "r"


def last_state(folder: Path) -> dict[str, Any]:
    state = checkpoint.load_checkpoint(checkpoint.list_checkpoints(folder)[-1])
    del state["seconds"], state["config"]
    return state


def steps_of(folder: Path) -> list[int]:
    return [entry["step"] for entry in log.read_log(folder / DYNAMICS_LOG)]


@pytest.mark.parametrize("changes", [{}, {"network": "resnet", "norm": "sn", "n_dis": 2, "precision": "bf16"}])
def test_a_sampled_run_has_the_bytes_of_one_that_is_not(changes: dict[str, Any], tmp_path: Path) -> None:
    plain = train(tmp_path / "plain", {**GAN, **changes, "dynamics": 0})
    sampled = train(tmp_path / "sampled", {**GAN, **changes})
    same_bytes(last_state(sampled), last_state(plain))
    assert steps_of(sampled) == [0, 2, 4, 5] and not (plain / DYNAMICS_LOG).exists()
    entries = log.read_log(sampled / DYNAMICS_LOG)
    assert [entry["step"] for entry in entries if "spectra" in entry] == [0, 5]
    assert all(layer["drift"] == 0 for layer in entries[0]["activations"].values())
    assert all(layer["drift"] > 0 for layer in entries[-1]["activations"].values())


@pytest.mark.parametrize("d_batch", ["separate", "joint"])
def test_a_killed_run_goes_on_with_the_same_lines(d_batch: str, tmp_path: Path) -> None:
    flags = {**GAN, "keep": 9, "d_batch": d_batch}
    whole = train(tmp_path / "whole", flags)
    killed = Path(shutil.copytree(tmp_path / "whole", tmp_path / "killed")) / "checkpoints" / "r"
    for path in checkpoint.list_checkpoints(killed)[2:]:
        path.unlink()
    lines = (whole / DYNAMICS_LOG).read_text().splitlines(keepends=True)
    # It came further than its checkpoint of step 4, and died in the middle of a line.
    (killed / DYNAMICS_LOG).write_text("".join(lines[:3]) + lines[3][:50])
    train(tmp_path / "killed", {}, resume=True)
    assert (killed / DYNAMICS_LOG).read_bytes() == (whole / DYNAMICS_LOG).read_bytes()
    same_bytes(last_state(killed), last_state(whole))
    # Killed after the checkpoint of step 4, before the sample of that step.
    for path in checkpoint.list_checkpoints(killed)[2:]:
        path.unlink()
    (killed / DYNAMICS_LOG).write_text("".join(lines[:2]))
    train(tmp_path / "killed", {}, resume=True)
    assert (killed / DYNAMICS_LOG).read_bytes() == (whole / DYNAMICS_LOG).read_bytes()


def test_sampling_can_be_switched_on_and_its_step_changed_on_resume(tmp_path: Path) -> None:
    folder = train(tmp_path, {**GAN, "dynamics": 0, "steps": 3})
    train(tmp_path, {"steps": 6, "dynamics": 2}, resume=True)
    assert steps_of(folder) == [3, 4, 6]  # at once, to have something to begin with
    first, *_, last = log.read_log(folder / DYNAMICS_LOG)
    assert all(layer["drift"] > 0 for layer in first["activations"].values())  # since initialisation all the same
    assert "spectra" in first and "spectra" in last
    train(tmp_path, {"steps": 8, "dynamics": 1}, resume=True)
    assert steps_of(folder) == [3, 4, 6, 7, 8]
    whole = train(tmp_path / "whole", {**GAN, "dynamics": 1, "steps": 8})
    assert log.read_log(whole / DYNAMICS_LOG)[-1] == log.read_log(folder / DYNAMICS_LOG)[-1]


def test_sampled_trainings_have_the_bytes_of_those_that_are_not(tmp_path: Path) -> None:
    run_classification("r", CLASSIFIERS, root=tmp_path / "sampled", device="cpu")
    run_classification("r", {**CLASSIFIERS, "dynamics": 0}, root=tmp_path / "plain", device="cpu")
    for norm in CLASSIFIERS["norms"]:
        files = []
        for root in ("sampled", "plain"):
            folder = tmp_path / root / "checkpoints" / "r" / f"{norm}-lr0.01-seed0"
            files.append((folder / "classifier.pt").read_bytes())
            assert (folder / DYNAMICS_LOG).exists() == (root == "sampled")
        assert files[0] == files[1]
        folder = tmp_path / "sampled" / "checkpoints" / "r" / f"{norm}-lr0.01-seed0"
        assert steps_of(folder) == [0, 3, 6, 8] and log.read_log(folder / DYNAMICS_LOG)[0]["norm"] == norm
    page = (tmp_path / "sampled" / "checkpoints" / "r" / "classify.html").read_text()
    assert Page(page).open == []
    for claim in ("Claim 1, SN makes", "Claim 2, SN controls", "Claim 3, SN lets", "Claim 4, MSN removes"):
        assert page.count(f"<figcaption>{claim}") == 1
    assert "Training dynamics, by 3 runs: Claim 1" in page
    assert "Training dynamics" not in (tmp_path / "plain" / "checkpoints" / "r" / "classify.html").read_text()


def test_killed_trainings_go_on_with_the_same_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(Exception):
        pass

    def kill(job: ClassifierTrainer) -> None:
        if job.step == 5:
            raise Killed

    flags = {**CLASSIFIERS, "norms": ["msn"]}
    run_classification("r", flags, root=tmp_path / "whole", device="cpu")
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)  # a checkpoint after every step
    with monkeypatch.context() as patch, pytest.raises(Killed):
        before_each_step(patch, kill)
        run_classification("r", flags, root=tmp_path / "killed", device="cpu")
    files = [tmp_path / root / "checkpoints" / "r" / "msn-lr0.01-seed0" / DYNAMICS_LOG for root in ("whole", "killed")]
    with open(files[1], "a") as file:
        file.write('{"step": 6, "kind"')
    run_classification("r", {}, root=tmp_path / "killed", device="cpu")
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_training_that_diverges_keeps_what_was_sampled(tmp_path: Path) -> None:
    run_classification(
        "r", {**CLASSIFIERS, "norms": ["none"], "lr": [1e30], "dynamics": 1}, root=tmp_path, device="cpu"
    )
    folder = tmp_path / "checkpoints" / "r" / "none-lr1e+30-seed0"
    assert steps_of(folder) == [0, 1]
    assert log.read_log(folder / DYNAMICS_LOG)[1]["layers"]["stack.0"]["gradient_variance"] is None
    assert "Training dynamics" not in (tmp_path / "checkpoints" / "r" / "classify.html").read_text()


def test_a_report_of_runs_has_their_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, norm in (("a", "sn"), ("b", "msn"), ("c", "none")):
        launch.train_run(
            name,
            None,
            None,
            {**GAN, "norm": norm, "steps": 3, "dynamics": 1},
            resume=False,
            dry_run=False,
            root=Path(),
            device="cpu",
        )
    targets = [f"checkpoints/{name}" for name in "abc"]
    with pytest.raises(SystemExit) as stopped:
        main(["report", *targets, "--num", "20", "--metrics", "fid", "--out", "scores", "--device", "cpu"])
    assert not stopped.value.code
    text = Path("scores/report.md").read_text()
    assert "Training dynamics, by 3 runs" in text and "*Claim 4, MSN removes the drift: " in text
    assert "too short to say. The run under sn has 3 steps, 200 are needed" in text


def test_the_flag_alone_means_its_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given: dict[str, Any] = {}

    def train_run(run: str, preset: None, file: None, flags: dict[str, Any], **rest: Any) -> launch.TrainOutcome:
        given.update(flags)
        return launch.TrainOutcome(RunDirectory(run), None)

    monkeypatch.setattr(launch, "train_run", train_run)
    for words, value in ((["--dynamics"], 100), (["--dynamics", "7"], 7), (["--dynamics", "--steps", "3"], 100)):
        given.clear()
        with pytest.raises(SystemExit) as stopped:
            main(["train", "r", *words])
        assert not stopped.value.code and given["dynamics"] == value
    assert TrainConfig().dynamics == 0
    given.clear()
    with pytest.raises(SystemExit):
        main(["train", "r"])
    assert given == {}


@pytest.mark.parametrize("settings", [TrainConfig, ClassifyConfig])
def test_a_negative_step_is_refused(settings: Any) -> None:
    with pytest.raises(UsageError, match="^--dynamics -1: must be at least 0$"):
        settings().replace({"dynamics": -1})


@pytest.mark.parametrize("command", ["train", "classify"])
def test_a_step_that_is_no_number_is_refused(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main([command, "r", "--dynamics", "often"])
    assert stopped.value.code == 2
    assert "Invalid value for '--dynamics': 'often' is not a valid integer" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_written_is_named(
    tmp_path: Path, tiny: Callable[..., TrainConfig], image_set: Callable[..., ImageSet]
) -> None:
    import torch

    config = tiny()
    probe = DiscriminatorProbe(config, image_set(), 0, build_generator(config), torch.device("cpu"))
    watch = DynamicsCallback(
        tmp_path / "absent", DynamicsMeter(build_discriminator(config), probe, {}), every=1, last=2, step=0
    )
    with pytest.raises(UserError, match="dynamics.jsonl: cannot be written: No such file"):
        watch(0)
