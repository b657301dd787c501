"""Evaluation targets: parts of sorted sets, duplicate targets, snapshots whose generator is not finite."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gan.errors import Diverged, UsageError, UserError
from gan.evaluation import evaluator
from gan.evaluation.evaluator import evaluate
from gan.evaluation.image_streams import random_part
from gan.evaluation.options import EvaluationOptions
from gan.evaluation.reference_statistics import write_statistics
from gan.evaluation.targets import list_image_sets, read_checkpoint_targets, resolve_targets, unique_targets
from gan.metrics.extractor import ExtractorOptions
from gan.runs import checkpoint
from gan.sampling import generate, sample
from tests.helpers.reports import DIGITS, ask, trained


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the digits with two checkpoints, the weights of the second not numbers."""
    folder = trained(tmp_path_factory.mktemp("run"), channels=1, report_every=0)
    state = checkpoint.load_checkpoint(folder / "step-00000004.pt")
    for value in state["average"].values():
        if value.is_floating_point():
            value.fill_(torch.nan)
    checkpoint.save_checkpoint(folder / "step-00000003.pt", state)
    return folder


@pytest.mark.parametrize("kind", ["folder", "npz"])
def test_a_part_of_a_sorted_set_is_of_the_whole_of_it(tmp_path: Path, kind: str) -> None:
    """The first images of a set whose folders are classes would be of one class."""
    pixels = np.arange(200, dtype=np.uint8)[:, None, None, None].repeat(8, 1).repeat(8, 2).repeat(3, 3)
    if kind == "npz":
        np.savez(tmp_path / "set.npz", pixels)
    else:
        for number, image in enumerate(pixels):
            (tmp_path / "set" / str(number // 50)).mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(tmp_path / "set" / str(number // 50) / f"{number:03d}.png")
    target = str(tmp_path / ("set.npz" if kind == "npz" else "set"))

    def shown(count: int, seed: int) -> list[int]:
        (entry,) = resolve_targets([target], {}, list_image_sets([target]), seed=seed)
        stream = entry.stream(count)
        assert stream.count == count
        return torch.cat(list(stream.batches()))[:, 0, 0, 0].tolist()

    assert shown(200, 0) == list(range(200))
    some = shown(40, 0)
    assert some == sorted(set(some)) == shown(40, 0) != shown(40, 1)
    assert {number // 50 for number in some} == {0, 1, 2, 3}


@pytest.mark.parametrize("target", ["./digits", "digits", "."])
def test_a_target_is_never_a_named_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    (tmp_path / "digits").mkdir()
    for number in range(3):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / "digits" / f"{number}.png")
    monkeypatch.chdir(tmp_path if target != "." else tmp_path / "digits")
    (entry,) = resolve_targets([target], {}, list_image_sets([target]), seed=0)
    assert (entry.count, entry.channels, entry.name) == (3, 3, "digits")


def test_larger_and_smaller_images_are_counted_together(tmp_path: Path) -> None:
    for number, side in enumerate([8, 9, 9, 7, 7, 7]):
        Image.new("RGB", (side, side)).save(tmp_path / f"{number}.png")
    with pytest.raises(UserError, match="different sizes: 5 of 6 are not 8x8"):
        resolve_targets([str(tmp_path)], {}, list_image_sets([str(tmp_path)]), seed=0)


def test_the_home_of_an_unknown_user_is_a_missing_path() -> None:
    with pytest.raises(UsageError, match="TARGET ~nosuchuser/cats: no such checkpoint, run, folder"):
        read_checkpoint_targets(unique_targets(["~nosuchuser/cats"]), EvaluationOptions((), DIGITS), "cpu")


def test_every_image_is_as_likely_to_be_in_a_part() -> None:
    counts = torch.bincount(torch.cat([random_part(50, 10, seed) for seed in range(500)]), minlength=50)
    assert counts.sum() == 5000 and 60 < counts.min() and counts.max() < 140  # 100 each, ± 9 (standard deviation)


def test_a_target_named_twice_is_scored_once(
    tmp_path: Path, image_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = f"{image_folder}/../{image_folder.name}"
    assert unique_targets([str(image_folder), "x", again]) == (str(image_folder), "x")
    record = ask(tmp_path / "out", image_folder, again, data="digits", num=None, metrics=("fid",))
    assert len(record["results"]) == 1
    assert f"TARGET {again}: named twice, scored once" in capsys.readouterr().err


def test_equal_files_under_two_names_are_scored_once(
    tmp_path: Path, run: Path, image_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = run / "step-00000004.pt"
    copies = [shutil.copy(newest, tmp_path / "copy.pt"), shutil.copytree(image_folder, tmp_path / "copies")]
    scored: list[str] = []
    real = evaluator.score
    monkeypatch.setattr(
        evaluator, "score", lambda images, *args, **rest: scored.append(images.name) or real(images, *args, **rest)
    )
    targets = (newest, copies[0], image_folder, copies[1])
    record = ask(tmp_path / "out", *targets, data="digits", num=24, metrics=("fid",), mixed_protocols=True)
    assert scored == [str(newest), str(image_folder)] and len(record["results"]) == 4
    first, second, third, fourth = (row["fid"] for row in record["results"])
    assert first == second != third == fourth
    assert f"{copies[0]}: the same images as {newest}, not scored again" in capsys.readouterr().err
    assert len({row["name"] for row in record["results"]}) == 4
    assert all((tmp_path / "out" / row["grid"]).exists() for row in record["results"])


def test_grey_files_make_the_real_images_grey_and_say_so(tmp_path: Path, image_folder: Path) -> None:
    grey = tmp_path / "grey"
    grey.mkdir()
    for path in image_folder.rglob("*.png"):
        Image.open(path).convert("L").save(grey / path.name)
    record = ask(tmp_path / "out", grey, data=str(image_folder), num=None, metrics=("fid",))
    assert any("24 real images converted to greyscale" in line for line in record["results"][0]["warnings"])
    colour = ask(tmp_path / "two", image_folder, data=str(image_folder), num=None, metrics=("fid",))
    assert not any("grey" in line for line in colour["results"][0]["warnings"])


def test_a_snapshot_without_images_is_passed_over(
    tmp_path: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = ask(tmp_path / "out", run, metrics=("is",))
    assert [row["step"] for row in record["results"]] == [2, 4]
    (line,) = record["passed_over"]
    assert "step-00000003.pt: its generator outputs NaN" in line and line in capsys.readouterr().err
    alone = run / "step-00000003.pt"
    with pytest.raises(UserError, match="step-00000003.pt: its generator outputs NaN"):
        evaluate(EvaluationOptions((str(alone),), DIGITS, metrics=("is",), num=40), tmp_path / "alone")
    assert not (tmp_path / "alone").exists()


@pytest.mark.parametrize("name", ["grid.png", "images.zip", "images", "walk.gif"])
def test_no_image_is_written_of_a_generator_that_gives_none(tmp_path: Path, run: Path, name: str) -> None:
    out, frames = tmp_path / "out" / name, 3 if name == "walk.gif" else None
    with pytest.raises(Diverged, match="step-00000003.pt: its generator outputs NaN or infinity.*earlier checkpoint"):
        sample.write_samples(run / "step-00000003.pt", out, sample.SampleOptions(num=4, frames=frames, device="cpu"))
    assert not list((tmp_path / "out").iterdir())


def test_rendering_refuses_infinity_in_a_single_image() -> None:
    class Generator(torch.nn.Linear):
        def forward(self, z: torch.Tensor, _: Any = None) -> torch.Tensor:
            images = super().forward(z)[:, :, None, None].expand(-1, -1, 4, 4).clone()
            images[5, 1, 2, 3] = torch.inf
            return images

    generator = Generator(8, 3)
    generate.render(generator, torch.zeros(5, 8))  # what fills a chunk up is not looked at
    with pytest.raises(Diverged):
        generate.render(generator, torch.zeros(6, 8))


def test_features_are_those_of_the_reference(tmp_path: Path, run: Path) -> None:
    write_statistics("digits", tmp_path / "ref.npz", DIGITS, resolution=32, channels=1)
    newest = run / "step-00000004.pt"
    record = ask(tmp_path / "a", newest, extractor=ExtractorOptions(device="cpu"), ref=tmp_path / "ref.npz")
    assert record["settings"]["features"] == "digits"
    with np.load(tmp_path / "ref.npz") as entries:
        own = json.loads(str(entries["msn_gan"]))
        own["protocol"]["extractor"] = "classifier"
        np.savez(tmp_path / "other.npz", **{**entries, "msn_gan": json.dumps(own)})
    with pytest.raises(UserError, match="--ref: has statistics of a classifier; name its checkpoint"):
        ask(tmp_path / "b", newest, extractor=ExtractorOptions(device="cpu"), ref=tmp_path / "other.npz")


def test_bad_statistics_are_refused_before_the_work(tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gan.evaluation.evaluator.score", lambda *_, **__: pytest.fail("scored"))

    def refused(message: str, path: Path) -> None:
        with pytest.raises(UserError, match=message):
            ask(tmp_path / "out", run, ref=path)

    sigma = np.eye(64)
    sigma[0, 1] = sigma[1, 0] = 5
    np.savez(tmp_path / "ref.npz", mu=np.zeros(64), sigma=sigma)
    refused("ref.npz: `sigma` is not a covariance .*negative eigenvalue", tmp_path / "ref.npz")
    np.savez(tmp_path / "ref.npz", mu=np.zeros(0), sigma=np.zeros((0, 0)))
    refused("do not match", tmp_path / "ref.npz")
    np.savez_compressed(tmp_path / "ref.npz", mu=np.arange(64.0), sigma=np.eye(64))
    content = bytearray((tmp_path / "ref.npz").read_bytes())
    content[60:90] = b"\xff" * 30
    (tmp_path / "ref.npz").write_bytes(content)
    refused("ref.npz: not reference statistics, or damaged", tmp_path / "ref.npz")
