"""The plan of a comparison, made from options, and the command that reproduces it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gan.experiments.compare.options import build_plan, compare_command
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
