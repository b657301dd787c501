"""The default number of scores, and of their images: scoring takes at most about a fifth of the time."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from gan.config.presets import PRESETS
from gan.config.train_config import TrainConfig
from gan.errors import UserError
from gan.experiments.compare import scoring_schedule as schedule
from gan.experiments.compare.options import build_plan, compare_command
from gan.models import build_discriminator, build_generator
from gan.models.classifiers import build_classifier, classifier_state
from gan.runs.checkpoint import save_checkpoint
from tests.helpers.comparisons import BOTH, RUN, compare

WIDE = {"g_width": 16, "d_width": 16}


def chosen(preset: str, *, number_given: bool = False, **changes: Any) -> TrainConfig:
    config = dataclasses.replace(PRESETS[preset], **changes)
    return schedule.with_scoring_schedule(config, number_given=number_given)


def share(config: TrainConfig) -> float:
    """The share of the estimated time that scoring takes."""
    generator, discriminator = schedule.network_flop(config)
    images = -(-config.steps // config.report_every) * config.report_num
    scoring = images * schedule.scoring_flop(generator, schedule.extractor_flop(config))
    return scoring / (scoring + config.steps * schedule.training_flop(config, generator, discriminator))


@pytest.mark.parametrize(
    "preset, changes, every, number",
    [
        ("quickstart", {"steps": 2000, **WIDE}, 200, 2000),  # long enough for ten scores
        ("quickstart", {"steps": 60, **WIDE}, 30, 2000),
        ("msn-dcgan", {"data": "digits", "steps": 60}, 30, 2048),  # fewer images, and fewer scores
        ("msn-dcgan", {"steps": 20_000}, 6_667, 10_000),
        ("msn-dcgan", {}, 31_280, 10_000),
    ],
)
def test_scoring_takes_a_fifth_of_the_time(preset: str, changes: dict[str, Any], every: int, number: int) -> None:
    config = chosen(preset, **changes)
    assert (config.report_every, config.report_num) == (every, number) and share(config) <= schedule.SHARE


def test_a_training_of_a_few_steps_has_one_score_of_the_images_that_a_fid_needs() -> None:
    config = chosen("msn-dcgan", data="digits", steps=2)
    assert (config.report_every, config.report_num) == (2, 2048)


def test_a_given_number_of_images_is_kept() -> None:
    config = chosen("msn-dcgan", number_given=True, data="digits", steps=200, report_num=10_000)
    assert config.report_num == 10_000 and share(config) <= schedule.SHARE


def test_what_was_chosen_is_said_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    chosen("quickstart", steps=60, **WIDE)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("scores: ")]
    assert line.startswith("scores: 2 of each training, every 30 steps and at the end, from 2,000 images: an estimated")
    assert line.endswith("% of the time; --report-every and --report-num choose others")


@pytest.mark.parametrize("steps", [1, 2, 7, 60, 65, 101, 1500, 312_800])
@pytest.mark.parametrize("scores", [1, 2, 3, 10])
def test_intervals_are_even(steps: int, scores: int) -> None:
    """No score follows shortly after another: steps 63 and 65 of 65 would show nearly the same images."""
    every = schedule.even_interval(steps, scores)
    at = [*range(every, steps, every), steps]
    assert len(at) <= scores and all(2 * (b - a) >= every for a, b in zip([0, *at], at, strict=False))


@pytest.mark.parametrize("preset", ["quickstart", "msn-dcgan", "best"])
def test_the_operations_are_those_that_torch_counts(preset: str) -> None:
    config = PRESETS[preset]
    inputs = torch.zeros(1, config.latent_dim), torch.zeros(1, config.channels, config.resolution, config.resolution)
    networks = build_generator(config), build_discriminator(config.replace({"norm": "none"}))
    for own, network, given in zip(schedule.network_flop(config), networks, inputs, strict=True):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(given)
        assert own == pytest.approx(counter.get_total_flops(), rel=0.5)  # merged convolutions are counted unmerged


@pytest.mark.parametrize("model, norm", [("vgg7", "msn"), ("resnet18", "bn")])
def test_the_operations_of_a_classifier(tmp_path: Path, model: str, norm: str) -> None:
    network = build_classifier(model, norm, resolution=32, channels=3, classes=10)
    save_checkpoint(tmp_path / "c.pt", classifier_state(network, model, norm, list("0123456789")))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(torch.zeros(1, 3, 32, 32))
    assert schedule.classifier_flop(tmp_path / "c.pt") == counter.get_total_flops()


def test_a_classifier_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no.pt"):
        chosen("quickstart", features=f"classifier:{tmp_path / 'no.pt'}")
    save_checkpoint(tmp_path / "c.pt", {"kind": "gan"})
    with pytest.raises(UserError, match="not a checkpoint of a classifier"):
        chosen("quickstart", features=f"classifier:{tmp_path / 'c.pt'}")


def test_the_choice_changes_no_random_numbers() -> None:
    before = torch.get_rng_state()
    chosen("quickstart", steps=60)
    assert torch.equal(torch.get_rng_state(), before)


def test_given_flags_are_kept_and_the_command_repeats_the_choice() -> None:
    flags = {"data": "digits", "steps": 60, **WIDE}
    plan = build_plan("r", "quickstart", None, flags, None)
    assert (plan.train.report_every, plan.train.report_num) == (30, 2000)
    words = compare_command("r", plan).split()
    assert words[words.index("--report-every") + 1] == "30"
    plan = build_plan("r", "quickstart", None, {**flags, "report_every": 20}, None)
    assert (plan.train.report_every, plan.train.report_num) == (20, 2000)
    plan = build_plan("r", "msn-dcgan", None, {"data": "digits", "steps": 60}, None)
    words = compare_command("r", plan).split()
    assert words[words.index("--report-num") + 1] == "2048"


def test_a_short_comparison_is_scored_at_the_end_and_only_once(tmp_path: Path) -> None:
    flags = {key: value for key, value in BOTH.items() if key != "report_every"}
    record = compare(tmp_path, **flags)
    assert [training["curve"]["step"] for training in record["trainings"]] == [[BOTH["steps"]]] * 2
    log = (tmp_path / RUN / "sn-seed0" / "log.jsonl").read_bytes()
    compare(tmp_path, **flags)
    assert (tmp_path / RUN / "sn-seed0" / "log.jsonl").read_bytes() == log
