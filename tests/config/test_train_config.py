"""Settings: presets, checks, JSON and TOML."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gan.config.presets import PRESETS, preset_config
from gan.config.resolve import read_config_file
from gan.config.train_config import TrainConfig
from gan.errors import UsageError


@pytest.mark.parametrize("name", PRESETS)
def test_json_round_trip(name: str) -> None:
    settings = preset_config(name).replace({"norm_layers": [4, 6, 7]})
    assert TrainConfig.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings
    assert settings.preset == name


def test_published_settings() -> None:
    dcgan, resnet = preset_config("msn-dcgan"), preset_config("sngan-resnet")
    assert (dcgan.loss, dcgan.batch, dcgan.n_dis, dcgan.steps, dcgan.decay) == ("logistic", 64, 1, 312_800, "none")
    assert (dcgan.g_lr, dcgan.d_lr, dcgan.beta1, dcgan.beta2) == (2e-4, 2e-4, 0.5, 0.999)
    assert (resnet.loss, resnet.batch, resnet.n_dis, resnet.steps, resnet.decay) == ("hinge", 64, 5, 100_000, "linear")
    assert (resnet.g_lr, resnet.d_lr, resnet.beta1, resnet.beta2) == (2e-4, 2e-4, 0.0, 0.9)
    assert preset_config("sngan-resnet-stl10").resolution == 48
    assert preset_config("resnet-64").resolution == 64
    assert preset_config("resnet-128").resolution == 128
    assert preset_config("sngan-projection").conditional


def test_quickstart_trains_msn_on_grey_digits_and_is_scored_at_its_end() -> None:
    quick = preset_config("quickstart")
    assert (quick.data, quick.resolution, quick.channels) == ("digits", 32, 1)
    assert (quick.network, quick.norm, quick.loss, quick.g_width, quick.d_width) == ("dcgan", "msn", "hinge", 16, 8)
    assert (quick.batch, quick.steps, quick.g_lr, quick.d_lr) == (64, 1000, 6e-4, 6e-4)
    assert quick.report_every == quick.steps
    assert quick.decay == "none"  # so that `--steps` can be raised at any time


def test_best_is_a_narrow_resnet_without_an_end_in_its_schedule() -> None:
    best = preset_config("best")
    assert (best.network, best.norm, best.loss, best.g_width, best.d_width) == ("resnet", "sn", "hinge", 32, 32)
    assert (best.batch, best.n_dis, best.g_lr, best.d_lr, best.beta1, best.beta2) == (16, 1, 5e-4, 5e-4, 0.0, 0.9)
    assert best.decay == "none"  # so that `--steps` can be raised at any time
    assert best.flip


def test_all_problems_come_in_one_message() -> None:
    with pytest.raises(UsageError) as caught:
        TrainConfig().replace({"norm": "batch", "loss": "gan", "batch": 0, "resolution": 3, "r1": -1, "seed": 1.5})
    lines = str(caught.value).splitlines()
    assert len(lines) == 6
    assert any(line.startswith("--norm batch: choose from none, wn, sn, bssn") for line in lines)
    assert "--resolution 3: must be at least 8" in lines
    assert "--batch 0: must be at least 1" in lines
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"batch": 10, "accumulate": 3}, "--accumulate 3 does not divide --batch 10"),
        ({"beta1": 1.0}, "must be below 1"),
        ({"norm_layers": [0, 2]}, "must be numbers from 1"),
        ({"penalty_every": 16}, "--penalty-every 16 needs a penalty"),
        ({"g_fakes": "reused", "n_dis": 5}, "--g-fakes reused: needs --n-dis 1, not 5"),
        ({"resolution": 33}, "--resolution 33: choose from 32, 48, 64, 128 for --network dcgan"),
        ({"r1_end": 0.1, "g_lr_end": 0.0}, "^--g-lr-end, --r1-end: needs --schedule-images N"),
        ({"schedule_images": 10}, "^--schedule-images 10: nothing is scheduled; give one of --g-lr-end, --d-lr-end"),
        ({"schedule_images": 0, "r1_end": 0.1}, "^--schedule-images 0: must be at least 1$"),
        ({"schedule_images": 10, "r1_end": -0.1}, "^--r1-end -0.1: must be at least 0$"),
        ({"schedule_images": 10, "beta2_end": 1.0}, "^--beta2-end 1.0: must be below 1$"),
        ({"augment": ["color"], "augment_p": 1.5}, "^--augment-p 1.5: is a probability, at most 1$"),
        ({"augment": ["color"], "augment_p_end": 2.0, "schedule_images": 1}, "^--augment-p-end 2.0: is a probability"),
        ({"augment_p": 0.5}, "^--augment-p, --augment-p-end and --ada-target need --augment$"),
        ({"augment": ["ada"], "ada_target": 0.6, "augment_p": 0.2}, "^--ada-target: decides --augment-p; leave out"),
        ({"augment": ["ada"], "ada_target": 1.6}, "^--ada-target 1.6: is a mean of signs, at most 1$"),
        ({"schedule_images": 10, "d_lr_end": 0.1, "decay": "linear"}, "^--decay linear and --d-lr-end schedule the"),
        ({"nrom": "sn"}, "unknown config fields: nrom"),
        ({"steps": True}, "--steps True: is not of type int"),
        ({"g_lr": float("nan")}, "--g-lr nan: is not of type float"),
    ],
)
def test_contradictions(changes: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        TrainConfig().replace(changes)


def test_unknown_preset_names_the_others() -> None:
    with pytest.raises(UsageError, match="--preset biggan: choose from quickstart, msn-dcgan"):
        preset_config("biggan")


def test_differences_name_what_matters() -> None:
    settings = preset_config("msn-dcgan")
    same = settings.replace({"log_every": 7, "keep": 9, "data": "elsewhere.zip", "steps": 5})
    assert settings.differences(same) == []
    assert settings.differences(settings.replace({"norm": "sn"})) == ["--norm: msn -> sn"]
    decaying = preset_config("sngan-resnet")
    assert decaying.differences(decaying.replace({"steps": 5})) == ["--steps: 100000 -> 5"]


def test_none_removes_a_value(tmp_path: Path) -> None:
    config = preset_config("r3gan")
    ends = {"augment_p": 1.0, "augment_p_end": None}
    assert all(config.replace({"augment": none, **ends}).augment == () for none in ("none", ["none"]))
    constant = config.replace({"schedule_images": "none", **{f"{name}_end": "none" for name in config.schedules()}})
    assert not constant.schedules() and constant.g_width is None
    narrow = constant.replace({"g_width": 48, "norm_layers": [1]}).replace({"g_width": "none", "norm_layers": "none"})
    assert narrow == constant
    words = constant.flags(config)
    assert words[words.index("--g-lr-end") + 1] == words[words.index("--schedule-images") + 1] == "none"
    assert constant.replace({"norm": "none"}).norm == "none" and constant.replace({"data": "none"}).data == "none"
    with pytest.raises(UsageError, match="--steps 'none': is not of type int"):
        config.replace({"steps": "none"})


def test_files(tmp_path: Path) -> None:
    toml, run = tmp_path / "a.toml", tmp_path / "config.json"
    toml.write_text('norm = "sn"\nd-batch = "joint"\nnorm-layers = [4, 6]\n')
    assert TrainConfig().replace(read_config_file(toml)).norm_layers == (4, 6)
    run.write_text(json.dumps({"config": {"norm": "ln"}, "versions": {}}))
    assert read_config_file(run) == {"norm": "ln"}


@pytest.mark.parametrize(
    "name, text", [("a.toml", "norm = sn"), ("a.json", "{"), ("b.json", "[1]"), ("none.json", None)]
)
def test_bad_files(tmp_path: Path, name: str, text: str | None) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=f"--config .*{name}"):
        read_config_file(tmp_path / name)


def test_one_field_in_two_spellings_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(json.dumps({"g-lr": 1e-4, "g_lr": 2e-4}))
    with pytest.raises(UsageError, match="has g-lr with - and with _; leave out one of the two"):
        read_config_file(tmp_path / "c.json")


def test_a_penalty_that_starts_at_0_is_one() -> None:
    rising = TrainConfig().replace({"r2_end": 1.0, "schedule_images": 10, "penalty_every": 2})
    assert rising.penalties() == ["r2"] and rising.schedules() == {"r2": (0.0, 1.0)}
    assert TrainConfig().penalties() == [] and TrainConfig().replace({"r1": 1.0}).penalties() == ["r1"]
    falling = TrainConfig().replace({"r1": 1.0, "r1_end": 0.0, "schedule_images": 10})
    assert falling.penalties() == ["r1"]
