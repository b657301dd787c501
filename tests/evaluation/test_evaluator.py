"""Scores of targets: the same for a checkpoint and its PNGs, under one protocol, kept when the work is stopped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gan.errors import UsageError, UserError
from gan.evaluation import evaluator
from gan.evaluation.evaluator import evaluate
from gan.evaluation.image_streams import grid_indices
from gan.evaluation.options import EvaluationOptions
from gan.evaluation.reference_statistics import write_statistics
from gan.metrics.extractor import ExtractorOptions
from gan.metrics.feature_pass import ImageStream, keeping_images
from gan.runs import checkpoint
from gan.sampling import sample
from tests.helpers.reports import DIGITS, ask, trained

SCORES = ("fid", "inception_score", "inception_score_std", "kid", "kid_std", "precision", "recall")


@pytest.fixture(scope="module")
def grey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the digits, two checkpoints."""
    return trained(tmp_path_factory.mktemp("grey"), channels=1, report_every=0)


def scores(result: dict[str, Any]) -> dict[str, float]:
    return {name: result[name] for name in SCORES}


@pytest.mark.parametrize("colour", [False, True])
def test_a_checkpoint_scores_what_its_pngs_score(
    tmp_path: Path, grey: Path, image_folder: Path, colour: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gan.metrics.score.KID_SUBSETS", 5)
    data = str(image_folder) if colour else "digits"
    run = trained(tmp_path, data=data, conditional=True, channels=3) if colour else grey
    newest = checkpoint.list_checkpoints(run)[-1]
    for seed, ema in ((0, True), (3, False)):
        out = tmp_path / f"out-{seed}"
        for name in ("png", "png.zip"):
            sample.write_samples(newest, out / name, sample.SampleOptions(num=70, seed=seed, ema=ema, device="cpu"))
        flags: dict[str, Any] = {"num": 70, "seed": seed, "ema": ema, "data": data}
        record = ask(out / "report", newest, out / "png", out / "png.zip", **flags)
        first, *others = record["results"]
        assert len(others) == 2
        for other in others:
            assert scores(other) == scores(first)
        assert first["protocol"]["ema"] is ema and others[0]["protocol"]["ema"] is None
        assert first["protocol"]["generated_count"] == 70
    # and another chunk of it gives another score
    assert ask(tmp_path / "less", newest, num=69, data=data)["results"][0]["fid"] != first["fid"]


@pytest.mark.parametrize("spread, numbers", [(True, [0, 2, 199]), (False, [0, 1, 63])])
def test_a_grid_shows_images_of_the_whole_set(spread: bool, numbers: list[int]) -> None:
    """Sorted by class, its first images would be of one class alone. Of a generator they are the first latents'."""
    shown = grid_indices(200, spread=spread).tolist()
    assert len(shown) == 64 and [shown[0], shown[1], shown[-1]] == pytest.approx(numbers, abs=1)


def test_images_of_a_stream_are_kept_when_they_come_by() -> None:
    images = torch.arange(200, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 2, 2)
    kept: list[torch.Tensor] = []
    stream = ImageStream("images", 200, lambda: iter(images.split(7)))
    numbers = torch.tensor([0, 6, 7, 100, 199])
    assert torch.equal(torch.cat(list(keeping_images(stream, numbers, kept).batches())), images)
    assert torch.cat(kept)[:, 0, 0, 0].tolist() == numbers.tolist()


def test_a_run_is_a_trajectory(tmp_path: Path, grey: Path) -> None:
    record = ask(tmp_path / "out", grey, metrics=("fid",), num=None)
    assert [row["step"] for row in record["results"]] == [2, 4]
    assert [row["images_seen"] for row in record["results"]] == [16, 32]
    assert {row["target"] for row in record["results"]} == {str(grey)}
    assert record["results"][0]["name"] == "r, step 2"
    assert record["results"][0]["protocol"]["generated_count"] == 1797  # as many as the digits
    assert record["results"][0]["protocol"]["reference"] == "digits"
    assert len(record["results"][0]["sha256"]) == 64
    for name in ("001.png", "002.png", "real.png"):
        assert Image.open(tmp_path / "out" / "report-images" / name).size == (8 * 33 + 1, 8 * 33 + 1)
    assert {"torch", "msn-gan"} <= set(record["versions"])


def test_a_damaged_snapshot_is_passed_over(tmp_path: Path, grey: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for path in checkpoint.list_checkpoints(grey):
        (run / path.name).write_bytes(path.read_bytes())
    (run / "step-00000002.pt").write_bytes(b"cut")
    record = ask(tmp_path / "out", run, metrics=("is",))
    assert [row["step"] for row in record["results"]] == [4]
    assert "step-00000002.pt: is not a complete msn-gan checkpoint" in capsys.readouterr().err


def test_array_files(tmp_path: Path, grey: Path) -> None:
    sample.write_samples(grey, tmp_path / "png", sample.SampleOptions(num=40, device="cpu"))
    pixels = np.stack([np.array(Image.open(path).convert("RGB")) for path in sorted((tmp_path / "png").iterdir())])
    np.savez(tmp_path / "a.npz", arr_0=pixels, arr_1=np.arange(40))
    record = ask(tmp_path / "out", grey / "step-00000004.pt", tmp_path / "a.npz", metrics=("fid", "is"))
    assert record["results"][0]["fid"] == record["results"][1]["fid"]


def test_statistics_stand_in_for_images(tmp_path: Path, grey: Path) -> None:
    reference = write_statistics("digits", tmp_path / "ref.npz", DIGITS, resolution=32, channels=1)
    assert reference.count == 1797
    with np.load(tmp_path / "ref.npz") as entries:
        assert entries["mu"].shape == (64,) and entries["sigma"].shape == (64, 64)
    direct = ask(tmp_path / "a", grey / "step-00000004.pt", metrics=("fid", "is"))["results"][0]
    saved = ask(tmp_path / "b", grey / "step-00000004.pt", ref=tmp_path / "ref.npz")["results"][0]
    assert saved["fid"] == direct["fid"] and "kid" not in saved
    assert saved["protocol"]["reference_content"] == direct["protocol"]["reference_content"]


def test_unlike_protocols_are_refused_before_the_work(
    tmp_path: Path, grey: Path, image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sizes and numbers of images are known before any image is decoded."""
    flags: dict[str, Any] = {"num": None, "data": "digits", "metrics": ("fid",)}
    large = tmp_path / "large"
    large.mkdir()
    for number in range(24):
        Image.new("RGB", (48, 48), (number, 0, 0)).save(large / f"{number:02d}.png")
    with monkeypatch.context() as patch:
        for module in ("evaluator", "targets"):
            patch.setattr(f"gan.evaluation.{module}.load_images", lambda *_, **__: pytest.fail("images were read"))
        for others in ([grey / "step-00000004.pt", large], [image_folder, large]):
            with pytest.raises(UserError, match="different resolutions: 32x32 and 48x48; --mixed-protocols"):
                ask(tmp_path / "out", *others, **flags)
        with pytest.raises(UserError, match="images: has 24 images, fewer than --num 40"):
            ask(tmp_path / "out", image_folder, **{**flags, "num": 40})
    assert not (tmp_path / "out").exists()
    record = ask(tmp_path / "out", image_folder, large, mixed_protocols=True, **flags)
    assert [row["protocol"]["resolution"] for row in record["results"]] == ["32x32", "48x48"]


def test_grey_and_colour_references_are_unlike(tmp_path: Path, grey: Path, image_folder: Path) -> None:
    """A grey generator is held against grey images, a colour one against colours."""
    with pytest.raises(UserError, match="cannot be compared: different reference images"):
        ask(tmp_path / "out", grey / "step-00000004.pt", image_folder, data=str(image_folder), num=20)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, UserError])
def test_what_is_finished_is_kept(
    tmp_path: Path, grey: Path, monkeypatch: pytest.MonkeyPatch, kind: type[BaseException]
) -> None:
    real, calls = evaluator.score, []

    def stopped_at_the_second(*args: Any, **options: Any) -> dict[str, Any]:
        calls.append(1)
        if len(calls) == 2:
            raise kind("it broke" if kind is UserError else "")
        return real(*args, **options)

    monkeypatch.setattr(evaluator, "score", stopped_at_the_second)
    record, error, _ = evaluate(EvaluationOptions((str(grey),), DIGITS, metrics=("fid",), num=40), tmp_path / "out")
    assert isinstance(error, kind)
    assert len(record["results"]) == 1 and record["planned"] == 2
    assert record["stopped"] == ("it broke" if kind is UserError else "interrupted")
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == record
    calls[:] = [1]
    with pytest.raises(kind):
        evaluate(EvaluationOptions((str(grey),), DIGITS, metrics=("fid",), num=40), tmp_path / "none" / "out")
    assert not (tmp_path / "none").exists()


class TestBadInput:
    def test_generator_of_nan(self, tmp_path: Path, grey: Path) -> None:
        state = checkpoint.load_checkpoint(grey / "step-00000004.pt")
        name = next(name for name, value in state["average"].items() if value.dtype == torch.float32)
        state["average"][name].fill_(torch.nan)
        checkpoint.save_checkpoint(tmp_path / "nan.pt", state)
        with pytest.raises(UserError, match="nan.pt: its generator outputs NaN or infinity"):
            ask(tmp_path / "out", tmp_path / "nan.pt")
        assert not (tmp_path / "out").exists()
        assert ask(tmp_path / "out", tmp_path / "nan.pt", ema=False, metrics=("is",))["results"]

    def test_folders(self, tmp_path: Path, image_folder: Path) -> None:
        def refused(message: str, **flags: Any) -> None:
            with pytest.raises(UserError, match=message):
                ask(tmp_path / "out", image_folder, **{"data": "digits", "num": None, **flags})

        refused("has 24 images, fewer than --num 40", num=40)
        Image.new("RGB", (48, 48)).save(image_folder / "zz.png")
        refused(r"images of different sizes: 1 of 25 are not 32x32 as the first is; .*data pack")
        (image_folder / "zz.png").write_text("no image")
        refused(r"(?s)1 image cannot be read:\n  zz.png: not an image.*--skip-bad-images")
        assert ask(tmp_path / "skip", image_folder, data="digits", num=None, skip_bad_images=True)["results"]
        for path in sorted(image_folder.rglob("*.png"))[2:]:
            path.unlink()
        refused("2 images; the Inception score needs at least 10")
        refused("2 images; --metrics pr needs at least 6", metrics=("pr",))
        assert ask(tmp_path / "two", image_folder, data="digits", num=None, metrics=("fid",))["results"]
        next(image_folder.rglob("*.png")).unlink()
        refused("1 image; a score needs at least 2", metrics=("fid",))
        Image.new("RGB", (40, 32)).save(next(image_folder.rglob("*.png")))
        refused("images of 40x32 pixels, not square; crop them with")

    def test_array_files(self, tmp_path: Path) -> None:
        contents: dict[str, dict[str, Any]] = {
            "contains statistics, not images; pass reference statistics with --ref": {
                "mu": np.zeros(3),
                "sigma": np.eye(3),
            },
            "contains no images; an array of images is uint8": {"arr_0": np.zeros((3, 8, 8, 3))},
            "not square": {"arr_0": np.zeros((3, 8, 9, 3), np.uint8)},
        }
        for message, arrays in contents.items():
            np.savez(tmp_path / "a.npz", **arrays)
            with pytest.raises(UserError, match=message):
                ask(tmp_path / "out", tmp_path / "a.npz", data="digits")
        (tmp_path / "a.npz").write_bytes(b"PK nothing")
        with pytest.raises(UserError, match="a.npz: not an npz of images, or damaged"):
            ask(tmp_path / "out", tmp_path / "a.npz", data="digits")

    def test_references(self, tmp_path: Path, grey: Path) -> None:
        def refused(message: str, **arrays: Any) -> None:
            np.savez(tmp_path / "ref.npz", **arrays)
            with pytest.raises(UserError, match=message):
                ask(tmp_path / "out", grey, ref=tmp_path / "ref.npz")

        refused("statistics of 2048 features, but digits has 64", mu=np.zeros(2048), sigma=np.eye(2048))
        refused("not finite", mu=np.full(64, np.nan), sigma=np.eye(64))
        write_statistics("digits", tmp_path / "ours.npz", DIGITS, resolution=32)
        with np.load(tmp_path / "ours.npz") as entries:
            record = json.loads(str(entries["msn_gan"]))
            record["protocol"]["extractor"] = "inception"
            arrays = {**entries, "msn_gan": json.dumps(record)}
        refused("cannot be compared: different extractors: inception and digits", **arrays)
        with pytest.raises(UsageError, match="--ref: kid, pr and copies need the real images .--data."):
            ask(tmp_path / "out", grey, ref=tmp_path / "ours.npz", metrics=("fid", "kid"))
        with pytest.raises(UsageError, match="--ref replaces --data"):
            ask(tmp_path / "out", grey, ref=tmp_path / "ours.npz", data="digits")

    def test_flags(self, tmp_path: Path, grey: Path, image_folder: Path) -> None:
        def refused(message: str, *targets: Any, **flags: Any) -> None:
            with pytest.raises(UsageError, match=message):
                ask(tmp_path / "out", *(targets or [grey]), **flags)

        refused("--metrics fidd: no such metric; choose from fid, is, kid, pr", metrics=("fidd",))
        refused("TARGET nowhere: no such checkpoint, run, folder, zip or npz", "nowhere")
        refused("--data: name the real images", image_folder)
        refused(
            "--features vgg: choose from auto, inception",
            extractor=ExtractorOptions(features="vgg"),
        )
        refused(
            "--preprocess: is for --features inception",
            extractor=ExtractorOptions(features="digits", preprocess="clean"),
        )
        other = trained(tmp_path / "other", data=str(image_folder))
        refused("--data: name the real images; the runs were trained on digits and ", grey, other)
        (tmp_path / "notes.txt").write_text("")
        refused("is not a checkpoint", tmp_path / "notes.txt")

    def test_weights_come_before_all_work(
        self, tmp_path: Path, image_folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(evaluator, "load_images", lambda *args, **options: pytest.fail("images were read"))
        monkeypatch.setattr("gan.evaluation.targets.load_images", evaluator.load_images)
        monkeypatch.setenv("MSN_GAN_INCEPTION", str(tmp_path / "absent.pth"))
        with pytest.raises(UserError, match="absent.pth: no such file; get it from https.*--features digits needs no"):
            ask(tmp_path / "out", image_folder, data="digits", extractor=ExtractorOptions(features="inception"))
        (tmp_path / "wrong.pth").write_bytes(b"wrong")
        monkeypatch.setenv("MSN_GAN_INCEPTION", str(tmp_path / "wrong.pth"))
        with pytest.raises(UserError, match="not the published Inception weights: SHA-256"):
            ask(tmp_path / "out", image_folder, data="digits", extractor=ExtractorOptions(features="inception"))
        with pytest.raises(UserError, match="not the published Inception weights"):
            trained(tmp_path / "run", data=str(image_folder), report_every=2)
        assert not (tmp_path / "run").exists() and not (tmp_path / "out").exists()

    def test_unwritable_out(self, tmp_path: Path, grey: Path) -> None:
        (tmp_path / "file").write_text("")
        for out in (tmp_path / "file", tmp_path / "file" / "out"):
            with pytest.raises(UserError, match=f"--out {out}: cannot be written to"):
                ask(out, grey)
        with pytest.raises(UsageError, match="must end in .npz"):
            write_statistics("digits", tmp_path / "ref.txt", DIGITS, resolution=32)
