"""Arms: their settings, equal numbers of images, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gan.cli.compare import _parse_arms
from gan.config import plugins
from gan.config.presets import PRESETS
from gan.config.train_config import TrainConfig
from gan.errors import UsageError
from gan.experiments.compare.arms import Arm, arm_of, common_interval, images_of, norm_arm, with_equal_images
from gan.experiments.compare.experiment import run_comparison
from gan.experiments.compare.options import build_plan, compare_command, resume_flags
from gan.experiments.compare.plan import CompareConfig, ComparePlan
from tests.helpers.commands import Call
from tests.helpers.comparisons import RUN, SMALL

R1 = {"norm": "none", "r1": 0.1}
SCHEDULED = {"r1_end": 0.5, "schedule_images": 16}
GP = {"norm": "none", "loss": "wgan", "gradient_penalty": 10.0, "n_dis": 2}


def plan(arms: dict[str, dict[str, Any]], existing: ComparePlan | None = None, **given: Any) -> ComparePlan:
    return build_plan("r", None, None, {**({} if existing else SMALL), **given}, existing, "cpu", arms)


def test_an_arm_is_its_settings() -> None:
    built = plan({"sn": {"norm": "sn"}, "r1": R1, "gp": GP})
    assert [arm.name for arm in built.arms] == ["sn", "r1", "gp"] and not built.compare.norms
    configs = [built.config_of(training) for training in built.trainings()][:3]
    assert [(config.norm, config.r1, config.loss) for config in configs] == [
        ("sn", 0.0, "hinge"),
        ("none", 0.1, "hinge"),
        ("none", 0.0, "wgan"),
    ]
    assert {images_of(config) for config in configs} == {4 * 8}
    assert {config.report_every * config.n_dis * config.batch for config in configs} == {2 * 8}
    assert {config.seed for config in configs} == {0}


def test_norms_are_arms() -> None:
    built = plan({"r1": R1}, norms=["sn", "msn"])
    assert [arm.name for arm in built.arms] == ["sn", "msn", "r1"]
    assert built.arms[0] == norm_arm("sn") and built.arms[2] == Arm("r1", {"r1": 0.1})


def test_an_arm_without_a_norm_has_that_of_the_preset() -> None:
    built = plan({"lr": {"d_lr": 1e-3}})
    assert built.config_of(next(built.trainings())).norm == "msn"
    later = plan({"more": {"d_lr": 1e-2}}, existing=built)
    assert later.config_of(next(later.trainings())).norm == "msn"


def test_an_arm_with_a_preset_has_its_other_settings() -> None:
    built = plan({"resnet": {"preset": "sngan-resnet", "n_dis": 1}})
    config = built.config_of(next(built.trainings()))
    assert (config.network, config.norm, config.decay, config.data, config.channels) == (
        "resnet",
        "sn",
        "linear",
        "digits",
        1,
    )
    assert config.g_width == 4, "what the user gives for all arms holds for it too"


def test_the_plan_survives_json() -> None:
    built = plan({"sn": {"norm": "sn"}, "gp": {**GP, "augment": ["color"], "norm_layers": [1, 2]}})
    again = ComparePlan.from_dict(built.to_dict())
    assert again == built and not built.differences(again)
    assert "arms" not in ComparePlan(CompareConfig(), TrainConfig()).to_dict(), "as older versions wrote it"


def test_the_command_says_the_same() -> None:
    built = plan({"sn": {"norm": "sn"}, "gp": GP}, baseline="sn")
    command = compare_command("r", built)
    assert "--arm 'sn=--norm sn'" in command
    assert "--loss wgan --gradient-penalty 10.0 --n-dis 2" in command and "--baseline sn" in command
    assert "--steps 2" not in command, "the budget chooses the steps of an arm"


def test_arms_may_have_schedules() -> None:
    built = plan({"a": {"r1": 1.0}, "b": {"r1": 1.0, "r1_end": 0.1}, "c": {"schedule_images": 9}}, **SCHEDULED)
    configs = [built.config_of(training) for training in built.trainings()][:3]
    assert [config.schedules()["r1"] for config in configs] == [(1.0, 0.5), (1.0, 0.1), (0.0, 0.5)]
    assert [config.schedule_images for config in configs] == [16, 16, 9]
    assert "--r1-end 0.1" in compare_command("r", built) and ComparePlan.from_dict(built.to_dict()) == built


@pytest.mark.parametrize("preset", ["sngan-projection", "best-64", "r3gan-narrow"])
def test_an_arm_without_the_schedules_of_the_others_is_named_by_its_flags(preset: str) -> None:
    shared = PRESETS["r3gan"].replace({"data": "x.zip", "report_every": 1000})
    values = {"data": "x.zip", "resolution": 32, "steps": 40_000, "report_every": 1000}
    config = PRESETS[preset].replace({**values, "conditional": True})
    arm = arm_of("x", config, shared)
    assert not arm.config(shared).schedules()
    option = arm.option(shared, "steps")
    assert "--r1-end none" in option and "--augment none" in option
    assert arm_of("x", shared.replace(_parse_arms((option,))["x"]), shared) == arm


@pytest.mark.parametrize(
    "arms, given, message",
    [
        ({"a b": R1}, {}, "--arm 'a b': use letters"),
        ({"a": {"data": "x.zip"}}, {}, "--arm a: --data must be equal for all arms"),
        ({"a": {"seed": 3}}, {}, "--arm a: --seed must be equal for all arms"),
        ({"a": {"resolution": 64}}, {}, "--arm a: --resolution must be equal"),
        ({"a": {"steps": 8}}, {}, "--arm a: --steps is set by --budget images"),
        ({"a": {"batch": 6}}, {}, "--arm a: a step of it shows 6 images, which must divide all 32 and the 16"),
        ({"a": {"norm": "x"}}, {}, "--arm a: --norm x: choose from"),
        ({"a": R1, "b": R1}, {}, "--arm b: has the same settings as a"),
        ({"sn": R1}, {"norms": ["sn"]}, "--arm sn: is given twice"),
        ({"a": R1}, {"baseline": "b"}, "--baseline b: is no arm; choose from a"),
        ({"a": R1}, {"lr_grid": True, "g_lr_end": 0.0, "schedule_images": 9}, "--lr-grid, --g-lr-end: both set"),
        ({"a": {"beta2_end": 0.9, "schedule_images": 9}}, {"tune": 2}, "--tune, --beta2-end: both set"),
        ({"a": {"d_lr": 0.1}}, {"lr_grid": True}, "--arm a: --d-lr is set by --lr-grid"),
    ],
)
def test_refused(arms: dict, given: dict, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        plan(arms, **given)
    assert message in str(caught.value)


def test_equal_steps_on_request() -> None:
    built = plan({"gp": GP, "long": {"norm": "sn", "steps": 6}}, budget="steps")
    assert [built.config_of(training).steps for training in built.trainings()][:2] == [4, 6]


def test_equal_images() -> None:
    shared = TrainConfig().replace({"steps": 1000, "batch": 64, "report_every": 250, "norm": "none"})
    arm = with_equal_images(Arm("a", {"n_dis": 5}), shared)
    assert arm.settings == {"n_dis": 5, "steps": 200, "report_every": 50}
    assert images_of(arm.config(shared)) == images_of(shared)
    every = common_interval(shared.replace({"report_every": 334}), [shared.replace({"n_dis": 5}), shared])
    assert every == 335
    assert common_interval(shared, []) == 250


def test_an_arm_may_be_added_but_not_changed() -> None:
    built = plan({"sn": {"norm": "sn"}, "r1": R1})
    added = plan({"gp": GP}, existing=built)
    assert [arm.name for arm in added.arms] == ["gp"] and not built.differences(added)
    assert [arm.name for arm in added.merge(built).arms] == ["gp", "sn", "r1"]
    changed = plan({"r1": {"norm": "none", "r1": 0.2}}, existing=built)
    assert built.differences(changed) == ["--arm r1: --r1: 0.1 -> 0.2"]
    with pytest.raises(UsageError, match="--arm r1: has the same settings as again"):
        plan({"again": R1}, existing=built).merge(built)


def test_an_arm_may_be_added_to_a_comparison_with_a_baseline() -> None:
    built = plan({"r1": R1}, norms=["sn"], baseline="r1")
    added = plan({}, existing=built, norms=["bn"])
    assert added.merge(built).compare.baseline == "r1" and [arm.name for arm in added.arms] == ["bn"]
    assert plan({}, existing=built, norms=["bn"], baseline="sn").merge(built).compare.baseline == "sn"
    with pytest.raises(UsageError, match="--baseline wn: is no arm; choose from bn, sn, r1$"):
        plan({}, existing=built, norms=["bn"], baseline="wn")


OWN = {"norm": "own.py:norm", "r1": 0.1}


@pytest.mark.parametrize(
    "norms, arms, words",
    [
        (["sn", "bn"], {"r1": R1}, []),  # all arms
        (["sn"], {"r1": R1}, ["--norms", "sn", "--arm", "r1=--norm none --r1 0.1"]),
        ([], {"r1": R1}, ["--arm", "r1=--norm none --r1 0.1"]),
        (["sn", "own.py:norm"], {}, ["--norms", "sn,own.py:norm"]),
        (["sn"], {"mine": OWN}, ["--norms", "sn", "--arm", "mine=--norm own.py:norm --r1 0.1"]),
        (["own.py:norm"], {"r1": R1}, ["--norms", "own.py:norm", "--arm", "r1=--norm none --r1 0.1"]),
    ],
)
def test_the_command_that_resumes_requests_the_same_arms(norms: list[str], arms: dict, words: list[str]) -> None:
    built = plan({"r1": R1}, norms=["sn", "bn"])
    requested = plan(arms, existing=built, norms=norms)
    flags = resume_flags(requested, requested.merge(built))
    assert flags == words
    named = [value for flag, value in zip(flags[::2], flags[1::2], strict=True) if flag == "--arm"]
    if words:
        again = plan(_parse_arms(tuple(named)), existing=built, norms=norms)
        assert again.arms == requested.arms


def test_the_command_that_resumes_names_shared_code() -> None:
    built = plan({}, norms=["sn"], loss="own.py:loss")
    assert resume_flags(built, built) == ["--loss", "own.py:loss"]


def test_code_that_is_not_named_is_named_with_all_arms(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command with some arms alone would train these alone."""
    monkeypatch.setattr(plugins, "_allowed", set())
    built = plan({"mine": OWN, "r1": R1}, norms=["sn"])
    with pytest.raises(UsageError) as caught:
        built.plugin_records()
    assert str(caught.value).endswith(
        "add --norms sn --arm 'mine=--norm own.py:norm --r1 0.1' --arm 'r1=--norm none --r1 0.1' to the command"
    )


def test_a_field_of_another_arm_name_is_named() -> None:
    shared = TrainConfig().replace({"norm": "none"})
    with pytest.raises(UsageError, match="--features must be equal"):
        arm_of("a", shared.replace({"features": "inception"}), shared)


def test_from_the_command_line_and_a_file(call: Call, tmp_path: Path) -> None:
    small = ["--g-width", 4, "--d-width", 4, "--latent-dim", 8, "--batch", 8, "--steps", 2, "--report-every", 2]
    small += ["--report-num", 20, "--seeds", 1]
    Path("arms.toml").write_text('[arms.file]\nnorm = "sn"\nd-lr = 0.001\n')
    code, told = call("compare", "r", *small, "--config", "arms.toml", "--arm", "r1=--norm none --r1 0.1")
    assert code == 0, told
    assert {path.name for path in Path("checkpoints/r").glob("*-seed0")} == {"file-seed0", "r1-seed0"}
    for words, message in (
        (["--arm", "r1"], "--arm r1: give a name and flags"),
        (["--arm", "x=--nrom sn"], "--arm x: No such option '--nrom'"),
        (["--arm", "x=--norm 'sn"], "--arm x: No closing quotation"),
        (["--arm", "x=--norm sn", "--arm", "x=--norm wn"], "--arm x: is given twice"),
        (["--arm", "r1=--norm none --r1 0.2"], "--arm r1: --r1: 0.1 -> 0.2"),
    ):
        code, told = call("compare", "r", *words)
        assert code == 2 and message in told, told


def test_a_comparison_of_arms(tmp_path: Path) -> None:
    arms = {"r1": {"norm": "none", "r1": 0.1, "flip": True}, "gp": GP}
    given = {**SMALL, "norms": ["sn"], "seeds": 1}
    assert run_comparison("r", None, None, given, root=tmp_path, device="cpu", arms=arms) is None
    record = json.loads((tmp_path / RUN / "report.json").read_text())
    assert [row["norm"] for row in record["rows"]] == ["sn", "r1", "gp"]
    page = (tmp_path / RUN / "report.md").read_text()
    assert "| Arm | --flip | --norm | --loss | --r1 | --gradient-penalty | --n-dis | Steps | Real images |" in page
    assert "| r1 | yes | none | hinge | 0.1 | 0.0 | 1 | 4 | 32 |" in page
    assert "| gp | no | none | wgan | 0.0 | 10.0 | 2 | 2 | 32 |" in page


def test_own_code_of_an_arm(call: Call, tmp_path: Path) -> None:
    """It is recorded, runs only if it is named again, and may not change."""
    Path("own.py").write_text("def norm(layer):\n    return layer\n")
    small = ["--g-width", 4, "--d-width", 4, "--latent-dim", 8, "--batch", 8, "--steps", 2, "--report-every", 2]
    small += ["--report-num", 20, "--seeds", 1]
    arm = ["--arm", "mine=--norm own.py:norm --r1 0.1"]

    def run(*words: object) -> tuple[int, str]:
        plugins._allowed.clear()  # as in a process of its own
        return call("compare", "r", *words)

    code, told = run(*small, *arm)
    assert code == 0, told
    config = json.loads(Path("checkpoints/r/config.json").read_text())
    assert list(config["plugins"]) == ["own.py:norm"]
    assert run()[0] == 0, "nothing is left to train"
    code, told = run("--seeds", 2)
    assert code == 2 and "add --arm 'mine=--norm own.py:norm --r1 0.1' to the command" in told, told
    Path("own.py").write_text("def norm(layer):\n    return layer  # edited\n")
    code, told = run("--seeds", 2, *arm)
    assert code == 1 and "the source of own.py:norm has changed" in told, told
