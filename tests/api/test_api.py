"""The Python API gives what the commands give."""

from __future__ import annotations

import json
import subprocess
import sys
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import gan
from gan.api.settings import SharedSettings, TrainSettings
from gan.cli import main
from gan.config.train_config import TrainConfig
from gan.experiments.compare.plan import PER_TRAINING
from tests.helpers.api_calls import SETTINGS, command, quiet, state_of
from tests.helpers.comparisons import BOTH
from tests.helpers.states import same_bytes


def test_import_gan_loads_no_torch() -> None:
    script = "import gan, sys; gan.UserError; gan.Progress; assert 'train' in dir(gan); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_all_names_exist() -> None:
    assert all(getattr(gan, name) is not None for name in gan.__all__)
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        gan.trian  # noqa: B018


def test_the_settings_are_the_fields_of_the_config() -> None:
    """Names and types; a list may be given where the config has a tuple, and None means that nothing is given."""
    hints = typing.get_type_hints(TrainSettings)
    own = typing.get_type_hints(TrainConfig)
    assert set(hints) == set(own) - {"preset"}
    assert set(typing.get_type_hints(SharedSettings)) == set(own) - {"preset", *PER_TRAINING}
    for name, hint in hints.items():
        kinds = {typing.get_args(kind)[0] if typing.get_origin(kind) else kind for kind in typing.get_args(hint)}
        wanted = {typing.get_args(kind)[0] if typing.get_origin(kind) is tuple else kind for kind in parts(own[name])}
        assert wanted | {type(None)} <= kinds | {str}, name


def parts(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) if type(None) in typing.get_args(hint) else (hint,)


def test_train_writes_the_bytes_of_the_command(run: gan.TrainedRun, tmp_path: Path) -> None:
    mine = gan.train("r", out=tmp_path / "mine", g_lr=0.1, **SETTINGS)
    assert mine.folder == tmp_path / "mine" / "checkpoints" / "r" and mine.step == 4 and mine.finished
    assert mine.checkpoint.name == run.checkpoint.name == "step-00000004.pt"
    same_bytes(state_of(mine.checkpoint), state_of(run.checkpoint))
    assert mine.grid is not None and run.grid is not None and mine.grid.read_bytes() == run.grid.read_bytes()
    assert mine.config == run.config and mine.stopped is None
    assert [entry["loss_d"] for entry in mine.log()] == [entry["loss_d"] for entry in run.log()]
    assert (mine.best, mine.scores) == (None, {})
    recorded = json.loads((mine.folder / "config.json").read_text())["command"]
    assert len(recorded) == 1 and recorded[0].startswith("gan.train(name='r', ") and "g_lr=0.1" in recorded[0]


@quiet
def test_scores_during_training(tmp_path: Path) -> None:
    run = gan.train("r", out=tmp_path, **{**SETTINGS, "report_every": 2, "report_num": 20})
    assert list(run.scores) == [2, 4] and run.scores[4]["fid"] > 0
    assert run.best is not None and run.best.exists()


def test_a_finished_run_is_continued(run: gan.TrainedRun) -> None:
    again = gan.train("r", resume=True, device="cpu")
    assert again.messages[-1].startswith("r is done: step 4 of 4")
    assert gan.train("r", resume=True, steps=6, device="cpu").step == 6 == run.step and run.config.steps == 6


def test_names_that_the_command_chooses(image_folder: Path, tmp_path: Path) -> None:
    run = gan.train(data=image_folder, preset="quickstart", out=tmp_path, **{**SETTINGS, "channels": 3})
    assert run.name == "quickstart" and run.config.data == str(image_folder)


@pytest.mark.parametrize("flags", [{}, {"seed": 3, "truncation": 0.7}, {"ema": False}])
def test_the_images_of_sample(run: gan.TrainedRun, flags: dict[str, Any]) -> None:
    words = [word for name, value in flags.items() if name != "ema" for word in (f"--{name}", value)]
    command("sample", "r", "--num", 70, "--out", "images", *words, *([] if flags.get("ema", True) else ["--no-ema"]))
    expected = np.stack([np.asarray(Image.open(path))[None] for path in sorted(Path("images").glob("*.png"))])
    images = gan.sample("r", num=70, **flags)
    assert images.dtype == torch.uint8 and images.shape == (70, 1, 32, 32)
    assert np.array_equal(images.numpy(), expected)
    own = {name: value for name, value in flags.items() if name != "ema"}
    generator = gan.load_generator(run, ema=flags.get("ema", True))
    assert torch.equal(generator.sample(70, **own), images)
    assert generator.classes == () and generator.config.steps == 4


@pytest.mark.parametrize("name", ["images.zip", "grid.png"])
def test_the_files_of_sample(run: gan.TrainedRun, name: str) -> None:
    command("sample", run.checkpoint, "--num", 9, "--out", f"command-{name}")
    assert gan.sample(run.checkpoint, num=9, out=name) == Path(name)
    assert Path(name).read_bytes() == Path(f"command-{name}").read_bytes()


def test_images_of_given_latents(run: gan.TrainedRun) -> None:
    generator = gan.load_generator(run)
    assert generator(torch.randn(3, 8)).shape == (3, 1, 32, 32)
    for latents, labels in ((torch.randn(3, 7), None), (torch.randn(8), None), (torch.randn(3, 8), torch.zeros(3))):
        with pytest.raises(gan.UsageError):
            generator(latents, labels)


def test_a_conditional_generator(image_folder: Path, tmp_path: Path) -> None:
    settings = {**SETTINGS, "channels": 3, "g_lr": 0.1, "conditional": True}
    run = gan.train("c", data=image_folder, out=tmp_path, preset="quickstart", **settings)
    generator = gan.load_generator(run)
    assert generator.classes == ("a", "b", "c")
    assert torch.equal(generator.sample(4, label="b"), generator.sample(4, label=1))
    assert not torch.equal(generator.sample(4, label="b")[0], generator.sample(4)[0])
    assert generator(torch.randn(2, 8), torch.tensor([0, 2])).shape == (2, 3, 32, 32)
    with pytest.raises(gan.UsageError, match="--class d: choose from a, b, c, or 0 to 2"):
        generator.sample(4, label="d")
    for labels in (torch.tensor([0, 3]), torch.tensor([-1, 0])):
        with pytest.raises(gan.UsageError, match=r"labels from (0 to 3|-1 to 0): must be 0 to 2"):
            generator(torch.randn(2, 8), labels)
    with pytest.raises(gan.UsageError, match="give labels, 0 to 2"):
        generator(torch.randn(2, 8))


def test_the_scores_of_report(run: gan.TrainedRun) -> None:
    command("report", "r", "--num", 40, "--device", "cpu", "--out", "command")
    record = json.loads(Path("command/report.json").read_text())
    before = set(Path().rglob("*"))
    report = gan.score(run, num=40, device="cpu")
    assert set(Path().rglob("*")) == before and (report.folder, report.page) == (None, None)
    assert [scores.step for scores in report] == [2, 4] and len(report) == 2
    for scores, result in zip(report, record["results"], strict=True):
        assert dict(scores) == {name: result[name] for name in scores} and len(scores) == 9
        assert list(scores.warnings) == result["warnings"] and scores.protocol.to_json() == result["protocol"]
    written = gan.score([run.checkpoint], num=40, device="cpu", metrics=["fid"], out="mine")
    assert written.page == Path("mine/report.html") and written.page.exists()
    assert dict(written[0]) == {"fid": report[1]["fid"]}
    assert written.record["command"].startswith("gan.score(targets=[")


@quiet
def test_compare_gives_the_record_of_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = {key: value for key, value in BOTH.items() if key not in ("norms", "seeds")}
    result = gan.compare("r", norms=["sn", "msn"], seeds=1, device="cpu", **settings)
    words = [word for key, value in settings.items() for word in (f"--{key.replace('_', '-')}", value)]
    command("compare", "r", "--norms", "sn,msn", "--seeds", 1, "--out", "command", "--device", "cpu", *words)
    record = json.loads(Path("command/checkpoints/r/report.json").read_text())
    assert [row["final"] for row in result.rows] == [row["final"] for row in record["rows"]]
    assert result.tests == record["paired"] and result.page.exists() and result.stopped is None
    assert result.record["planned"] == 2 and result.warnings
    run = result.run("msn", seed=0)
    assert run.config.norm == "msn"
    same_bytes(state_of(run.checkpoint), state_of(Path("command") / run.checkpoint))
    with pytest.raises(gan.UsageError, match="--g-width: 4 -> 5"):
        gan.compare("r", g_width=5)
    with pytest.raises(gan.UsageError, match="--norm: differs between the trainings; give --norms and --seeds"):
        gan.compare("r", norm="sn")


@pytest.mark.parametrize(
    "attempt, words",
    [
        (lambda: gan.train("x", norm="best"), "train x --norm best"),
        (lambda: gan.train("x", steps=0, batch=7, accumulate=2), "train x --steps 0 --batch 7 --accumulate 2"),
        (lambda: gan.train("x", preset="worst"), "train x --preset worst"),
        (lambda: gan.train("x", data="none"), "train x --data none"),
        (lambda: gan.train("x", config="none.toml"), "train x --config none.toml"),
        (lambda: gan.train("r"), "train r"),
        (lambda: gan.train("none", resume=True), "train none --resume"),
        (lambda: gan.train("r", resume=True, norm="sn"), "train r --resume --norm sn"),
        (lambda: gan.sample("none"), "sample none"),
        (lambda: gan.load_generator("none"), "sample none"),
        (lambda: gan.sample("r", label="7"), "sample r --class 7"),
        (lambda: gan.sample("r", truncation=float("inf")), "sample r --truncation inf"),
        (lambda: gan.sample("r", best=True), "sample checkpoints/r --best"),
        (lambda: gan.sample("r", out="a.jpg"), "sample r --out a.jpg"),
        (lambda: gan.score("r", metrics="fit"), "report r --metrics fit"),
        (lambda: gan.score("none"), "report none"),
        (lambda: gan.score("r", features_weights="no.pth"), "report r --features-weights no.pth"),
        (lambda: gan.score("r", inception_weights="no.pth"), "report r --inception-weights no.pth"),
        (lambda: gan.score("r", data="digits", ref="a.npz"), "report r --data digits --ref a.npz"),
        (lambda: gan.compare("x", norms=["sn", "ms"]), "compare x --norms sn,ms"),
        (lambda: gan.compare("r", norms=["sn", "msn"]), "compare r --norms sn,msn"),
        (lambda: gan.compare("x", report_every=0), "compare x --report-every 0"),
    ],
)
def test_errors_are_those_of_the_commands(
    attempt: Callable[[], object], words: str, run: gan.TrainedRun, capsys: pytest.CaptureFixture[str]
) -> None:
    before = set(Path().rglob("*"))
    with pytest.raises(gan.UserError) as raised:
        attempt()
    assert set(Path().rglob("*")) == before
    with pytest.raises(SystemExit) as stopped:
        main(words.split())
    assert capsys.readouterr().err.splitlines()[-len(str(raised.value).splitlines()) :] == (
        f"msn-gan: {raised.value}".splitlines()
    )
    assert stopped.value.code == raised.value.exit_code
    assert isinstance(raised.value, gan.UsageError) == (stopped.value.code == 2)


@pytest.mark.parametrize(
    "attempt, message",
    [
        (lambda: gan.train("x", device="tpu"), "--device tpu: choose from auto, cpu, cuda, mps"),
        (lambda: gan.train("x", sn=True), "unknown config fields: sn; choose from: preset, data, "),
        (lambda: gan.train("x", steps="9"), "--steps '9': is not of type int"),
        (lambda: gan.sample("r", num=0), "--num 0: must be at least 1"),
        (lambda: gan.sample("r", num=2.0), "--num 2.0: is not of type int"),
        (lambda: gan.sample("r", seed=-1), "--seed -1: must be at least 0"),
        (lambda: gan.sample("r", truncation=0.0), "--truncation 0.0: must be a number above 0"),
        (lambda: gan.sample("r", grid=3), "--grid: only for files; add out=PATH, or leave it out"),
        (lambda: gan.score("r", num=1), "--num 1: must be at least 2"),
        (lambda: gan.score("r", seed=2**32), "--seed 4294967296: must be at most 4294967295"),
        (lambda: gan.score("r", split="all"), "--split all: choose from train, test"),
        (
            lambda: gan.score("r", features_weights="a", inception_weights="b"),
            "--inception-weights: is the former name",
        ),
        (lambda: gan.score([]), "TARGET: give at least one"),
    ],
)
def test_checks_that_the_command_line_leaves_to_click(
    attempt: Callable[[], object], message: str, run: gan.TrainedRun
) -> None:
    with pytest.raises(gan.UsageError) as raised:
        attempt()
    assert str(raised.value).startswith(message)


def test_no_such_run(tmp_path: Path) -> None:
    run = gan.TrainedRun("none", tmp_path)
    assert (run.step, run.grid, run.best, run.log()) == (0, None, None, [])
    for read in (lambda: run.checkpoint, lambda: run.config):
        with pytest.raises(gan.UserError):
            read()


def test_compare_arms(tmp_path: Path) -> None:
    settings = {**SETTINGS, "report_every": 4, "report_num": 20}
    result = gan.compare("r", arms={"r1": {"norm": "none", "r1": 0.1}}, seeds=1, out=tmp_path, **settings)
    assert result.run("r1").config.r1 == 0.1 and [row["norm"] for row in result.rows] == ["r1"]
    with pytest.raises(gan.UsageError, match="--arm r1: --r1: 0.1 -> 0.2"):
        gan.compare("r", arms={"r1": {"norm": "none", "r1": 0.2}}, out=tmp_path)


def test_compare_with_tuning(tmp_path: Path) -> None:
    settings = {**SETTINGS, "report_every": 4, "report_num": 20, "report_repeats": 2}
    result = gan.compare("r", norms=["sn"], tune=1, then=1, budget="steps", out=tmp_path, **settings)
    tuned, final = result.run("sn", 0, "t1"), result.run("sn", 1)
    assert tuned.config.d_lr == final.config.d_lr != 2e-4 and final.config.seed == 1
    assert [row["seeds"] for row in result.rows] == [1] and len(result.record["trainings"][0]["fid_draws"]) == 2
