"""The quality benchmark on tiny networks: turns, scores, counts, invalid flags."""

from __future__ import annotations

import json
from pathlib import Path

import equal_seconds
import pytest
from equal_seconds import Program, config_of

from gan.config.presets import preset_config
from gan.errors import UsageError

TINY = "--preset msn-dcgan --g-width 2 --d-width 2 --latent-dim 8 --batch 4"


def test_flags_are_those_of_train(images: Path) -> None:
    config = config_of(
        "--preset msn-dcgan --norm-layers 4,6,7 --flip --augment color,cutout --d-lr 4e-4 --ema-half-life 0", images
    )
    changed = {
        "norm_layers": (4, 6, 7),
        "flip": True,
        "augment": ("color", "cutout"),
        "d_lr": 4e-4,
        "ema_half_life": 0.0,
    }
    assert config == preset_config("msn-dcgan").replace({**changed, "data": str(images)})


def test_a_turn_is_whole_steps_until_its_seconds_are_over(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 0.0
    monkeypatch.setattr("equal_seconds.time.perf_counter", lambda: clock)

    def step() -> None:
        nonlocal clock
        clock += 2.0

    program = Program("a", preset_config("msn-dcgan"), step, None, 0, dict)
    program.turn(5, total=9)
    assert (program.steps, program.seconds) == (3, 6)
    clock += 100  # another program's turn is not counted
    program.turn(5, total=9)
    assert (program.steps, program.seconds) == (5, 10)
    program.turn(5, total=9)
    assert program.steps == 5


def test_it_trains_scores_and_writes(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--data", str(images), "--features", "digits", "--seconds", "0.02", "0.01", "--turn", "0.01"]
    flags += ["--num", "12", "--workers", "0", "--textbook", TINY, "--precision", "fp32"]
    flags += ["--json", str(tmp_path / "out.json"), "--grids", str(tmp_path / "grids")]
    equal_seconds.main([*flags, f"{TINY} --norm sn --flip", f"{TINY} --loss wgan --g-lr 1e38"])
    printed = capsys.readouterr().out
    found = json.loads((tmp_path / "out.json").read_text())
    assert [program["name"][:8] for program in found["programs"]] == ["textbook", "--preset", "--preset"]
    for program in found["programs"][:2]:
        first, second = program["scores"]
        assert 0.01 <= first["seconds"] <= second["seconds"] and 0.02 <= second["seconds"]
        assert first["images"] == 4 * first["steps"] and second["fid"] > 0
        assert f"| {second['fid']:.2f} |" in printed
    assert found["programs"][2]["diverged"] and "| diverged |" in printed
    assert sorted(path.name for path in (tmp_path / "grids").iterdir()) == ["0.png", "1.png"]


def test_settings_that_do_not_go_are_refused(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        equal_seconds.main(["--data", str(images), "--features", "digits", "--textbook", "", "--preset biggan"])
    assert stopped.value.code == 2 and "--preset biggan" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags", ["--config a.toml", "--init cats", "--resume", "--device cuda", "--data a.zip", "cats"]
)
def test_flags_that_would_have_no_effect_are_refused(flags: str, images: Path) -> None:
    name = "run" if flags == "cats" else flags.split()[0]
    with pytest.raises(UsageError, match=f"{flags}: {name}: is set by the benchmark, or not supported; leave it out"):
        config_of(f"--preset msn-dcgan {flags}", images)


def test_no_training_at_all_is_refused(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        equal_seconds.main(["--data", str(images), "--features", "digits", "--textbook", ""])
    assert stopped.value.code == 2 and "give the flags of at least one training" in capsys.readouterr().err
