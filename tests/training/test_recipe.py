"""The recipe that is chosen for images, what is said of it, and warnings of what it loses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gan.config.train_config import TrainConfig
from gan.data.survey import Survey
from gan.experiments.compare.options import build_plan
from gan.training import recipe
from gan.training.recipe import choose_recipe, loss_warnings, name_of_data
from tests.helpers.commands import Call

TINY = ("--steps", 1, "--g-width", 4, "--d-width", 4, "--batch", 4)

Draw = Callable[..., Path]


@pytest.fixture
def draw(tmp_path: Path) -> Draw:
    """A folder of images of one size and mode."""

    def write(mode: str = "RGB", size: tuple[int, int] = (32, 32), name: str = "photos", count: int = 8) -> Path:
        (tmp_path / name).mkdir()
        for number in range(count):
            Image.new(mode, size, 20 * number if mode == "L" else (20 * number, 0, 0)).save(
                tmp_path / name / f"{number}.png"
            )
        return tmp_path / name

    return write


def chosen(folder: Path | str, **values: Any) -> tuple[str, int, int]:
    preset, fields, _ = choose_recipe({"data": str(folder), **values}, "cpu")
    return preset, fields["resolution"], fields["channels"]


@pytest.mark.parametrize(
    ("side", "expected"), [(1, 32), (28, 32), (33, 32), (48, 48), (54, 48), (60, 64), (100, 128), (4000, 128)]
)
def test_the_nearest_resolution(draw: Draw, side: int, expected: int) -> None:
    preset = {32: "best", 48: "best-64", 64: "best-64", 128: "best-128"}[expected]
    assert chosen(draw(size=(side, side + 1), count=2)) == (preset, expected, 3)


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3)])
def test_colour_stays_colour(draw: Draw, mode: str, channels: int) -> None:
    assert chosen(draw(mode)) == ("best", 32, channels)


def test_one_image_in_colour_makes_a_set_colour(draw: Draw) -> None:
    folder = draw("L")
    Image.new("RGB", (32, 32)).save(folder / "x.png")
    assert chosen(folder) == ("best", 32, 3)


def test_given_flags_stay(draw: Draw) -> None:
    folder = draw()
    assert chosen(folder, resolution=64, channels=1) == ("best-64", 64, 1)
    assert chosen(folder, resolution=256) == ("best-128", 256, 3)  # best has SN, which fails from 64 pixels


def test_a_given_network_has_the_chosen_resolution(draw: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen(draw(size=(48, 48), name="a"), network="r3gan") == ("best-64", 64, 3)
    monkeypatch.setattr(recipe, "resolve_device", lambda name: torch.device("cuda"))
    assert chosen(draw(size=(512, 512), name="b", count=1), network="dcgan") == ("resnet-128", 128, 3)


def test_a_resolution_of_another_type_is_refused(call: Call, draw: Draw, tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(json.dumps({"data": str(draw()), "resolution": [64]}))
    code, told = call("train", "--config", tmp_path / "c.json")
    assert code == 2 and "--resolution (64,): is not of type int" in told


@pytest.mark.parametrize("name", ["mnist", "cifar10", "stl10"])
def test_named_datasets_are_not_downloaded(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "open_source", None)
    expected = {"mnist": ("best", 32, 1), "cifar10": ("best", 32, 3), "stl10": ("best-64", 48, 3)}
    assert chosen(name) == expected[name]


@pytest.mark.parametrize(
    ("side", "preset"), [(32, "sngan-resnet"), (48, "sngan-resnet-stl10"), (64, "resnet-64"), (128, "resnet-128")]
)
def test_the_published_recipe_on_a_gpu(draw: Draw, monkeypatch: pytest.MonkeyPatch, side: int, preset: str) -> None:
    monkeypatch.setattr(recipe, "resolve_device", lambda name: torch.device("cuda"))
    found, fields, reason = choose_recipe({"data": str(draw(size=(side, side)))}, "auto")
    assert (found, fields["resolution"]) == (preset, side) and reason.endswith("this machine has a GPU")


def test_the_first_command_of_a_user(call: Call, draw: Draw, tmp_path: Path) -> None:
    """Images in colour train in colour, under the name of their folder, and the command in full does the same."""
    draw(name="my photos")
    code, message = call("train", "--data", "my photos", *TINY)
    assert code == 0, message
    config = json.loads(Path("checkpoints/my-photos/config.json").read_text())["config"]
    assert (config["preset"], config["channels"], config["resolution"]) == ("best", 3, 32)
    line = next(line for line in message.splitlines() if line.startswith("recipe: "))
    assert line.startswith(
        "recipe: best at 32×32 in colour, since my photos has 8 images in colour, with short sides of 32"
    )
    same = line.split("train my-photos ")[1].replace("'my photos'", "my_photos").split()
    (tmp_path / "my_photos").symlink_to(tmp_path / "my photos")
    code, message = call("train", "again", *same)
    assert code == 0 and "recipe:" not in message, message
    again = json.loads(Path("checkpoints/again/config.json").read_text())["config"]
    assert {**again, "data": "my photos"} == config
    code, message = call("train", "--data", "my photos", "--resume", "--steps", 2)
    assert code == 0 and "resuming my-photos at step 1 of 2" in message


def test_a_preset_and_the_quickstart_are_not_chosen_anew(call: Call, draw: Draw) -> None:
    draw()
    code, message = call("train", "--data", "photos", "--preset", "quickstart", *TINY)
    assert code == 0 and "recipe:" not in message and Path("checkpoints/quickstart").is_dir()
    assert "warning: 7 of 8 images" not in message
    assert "warning: 8 of 8 images lose their colour with --channels 1; --channels 3 keeps it" in message
    code, message = call("train", "digits", "--data", "digits", *TINY)
    config = json.loads(Path("checkpoints/digits/config.json").read_text())["config"]
    assert code == 0 and "recipe:" not in message and config["preset"] == "quickstart"


def test_a_comparison_chooses_too(draw: Draw, capsys: pytest.CaptureFixture[str]) -> None:
    plan = build_plan("r", None, None, {"data": str(draw())}, None, "cpu")
    assert (plan.train.preset, plan.train.channels) == ("best", 3)
    assert "recipe: best at 32×32 in colour" in capsys.readouterr().err


def test_no_such_images(call: Call) -> None:
    code, message = call("train", "--data", "nowhere")
    assert code == 2 and "--data nowhere: no such folder, zip or npz" in message
    code, message = call("train", "--data", "nowhere", "--preset", "x")
    assert code == 2 and "--preset x: choose from" in message


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("a/Photos.ZIP", "Photos"),
        ("cifar10", "cifar10"),
        ("/x/my cats!.npz", "my-cats"),
        ("/x/__猫", "images"),
        ("~nosuchuser/x", "x"),
    ],
)
def test_names(data: str, name: str) -> None:
    assert name_of_data(data) == name


def survey(*sizes: tuple[int, int], grey: bool = False, total: int | None = None) -> Survey:
    widths, heights = np.array(sizes, dtype=np.int64).T
    return Survey(total or len(sizes), widths, heights, np.full(len(sizes), grey))


@pytest.mark.parametrize(
    ("found", "config", "expected"),
    [
        (survey((32, 32), (40, 32)), TrainConfig(), []),
        (survey((32, 32), grey=True), TrainConfig(channels=1), []),
        (
            survey((32, 32)),
            TrainConfig(channels=1),
            ["1 of 1 image loses its colour with --channels 1; --channels 3 keeps it"],
        ),
        (
            survey((32, 64), (32, 48), total=9),
            TrainConfig(),
            ["cropping to squares leaves out 42% of a picture on average; crop the images beforehand"],
        ),
        (
            survey((32, 32), (31, 31), (20, 20), total=5000),
            TrainConfig(resolution=64),
            [
                "2 of 3 sampled images are enlarged more than twofold, from short sides of 20 to 32 (median 31) to 64 "
                "pixels; --resolution 32 enlarges less"
            ],
        ),
        (
            survey((8, 8)),
            TrainConfig(),
            ["1 of 1 image is enlarged more than twofold, from short sides of 8 to 32 pixels"],
        ),
    ],
)
def test_what_is_lost(found: Survey, config: TrainConfig, expected: list[str]) -> None:
    assert list(loss_warnings(found, config)) == expected
