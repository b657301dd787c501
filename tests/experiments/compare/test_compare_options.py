"""The plan of a comparison, made from options, and the command that reproduces it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gan.errors import UsageError
from gan.experiments.compare.options import build_plan, compare_command
from gan.experiments.compare.plan import ComparePlan
from gan.models import build_discriminator, build_generator, count_parameters


@pytest.mark.parametrize("preset, widths", [("quickstart", (64, 64)), ("best", (256, 128))])
def test_the_command_says_a_width_that_a_file_takes_back(preset: str, widths: tuple[int, int], tmp_path: Path) -> None:
    """null in a file and `none` as a flag mean the published width, where the preset has another."""
    file = tmp_path / "widths.json"
    file.write_text('{"g_width": null, "d_width": null}')
    plan = build_plan("r", preset, file, {}, None)
    assert "--g-width none --d-width none" in compare_command("r", plan)
    named = build_plan("r", preset, None, {"g_width": "none", "d_width": "none"}, None)
    assert plan == named and not plan.differences(build_plan("r", preset, file, {}, plan))
    built = [build_generator(plan.train.replace({"g_width": width})) for width in (None, widths[0])]
    assert count_parameters(built[0]) == count_parameters(built[1])
    built = [build_discriminator(plan.train.replace({"d_width": width})) for width in (None, widths[1])]
    assert count_parameters(built[0]) == count_parameters(built[1])


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    """As of a run of `train` with the preset best."""
    file = tmp_path / "config.json"
    file.write_text('{"config": {"preset": "best", "norm": "msn", "seed": 3, "batch": 8}}')
    return file


def test_a_file_with_a_norm_and_a_seed(config_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = build_plan("r", None, config_file, {}, None)
    assert plan.train.batch == 8 and plan.train.preset == "best" and plan.compare.norms == ("sn", "msn")
    message = "has no effect on norm and seed of the trainings; give --norms and --seeds"
    assert message in " ".join(capsys.readouterr().err.split())


def test_a_file_with_another_preset_than_the_run(config_file: Path) -> None:
    def resumed(existing: ComparePlan, preset: str | None = None) -> ComparePlan:
        return build_plan("r", preset, config_file, {}, existing)

    same, other = (build_plan("r", preset, None, {"batch": 8}, None) for preset in ("best", "quickstart"))
    assert resumed(same).train.preset == "best" and resumed(other, "quickstart").train.preset == "quickstart"
    with pytest.raises(UsageError, match="has the preset best, but the run r was started with --preset quickstart"):
        resumed(other)
