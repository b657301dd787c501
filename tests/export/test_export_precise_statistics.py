"""`export --precise-stats`: recomputed running statistics, as by hand, and recorded in the file."""

from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from gan.errors import UserError
from gan.export.export import ExportOptions, export_network
from gan.export.network import Uint8Generator, load_export_source
from gan.export.precise_statistics import use_precise_statistics
from gan.export.training_images import ImageOptions, TrainingImages
from gan.norm import retake_running_statistics
from gan.sampling import generate
from gan.sampling.standing_stats import use_standing_statistics
from gan.training import train
from tests.conftest import TINY
from tests.helpers.commands import Call

safetensors = pytest.importorskip("safetensors", reason="needs the extra: pip install msn-gan[onnx]")


def run_of(norm: str, **more: Any) -> Path:
    flags: dict[str, Any] = {**TINY, "channels": 1, "report_every": 0, "norm": norm, **more}
    train.train_run(norm, None, None, flags, resume=False, dry_run=False, root=Path(), device="cpu")
    return Path("checkpoints") / norm


def means(network: nn.Module) -> list[torch.Tensor]:
    return [value for name, value in network.named_buffers() if name.endswith("running_mean")]


@pytest.mark.parametrize("joint", [False, True])
def test_a_discriminator_sees_both_kinds_of_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, joint: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    source = load_export_source(run_of("msn", d_batch="joint" if joint else "separate"), "discriminator")
    images = TrainingImages(source, ImageOptions(), "--precise-stats")
    before, expected = copy.deepcopy(source.network), copy.deepcopy(source.network)
    assert use_precise_statistics(source, 2, images)
    size = 32 if joint else 64
    order = torch.randperm(len(images.train), generator=torch.Generator().manual_seed(3))
    real = [images.inputs(images.train, order[batch * size : (batch + 1) * size])[0] for batch in range(2)]
    generator = source.generator()
    with torch.no_grad():
        fakes = generator(generate.latents(3, range(2 * size), TINY["latent_dim"])).split(size)
    if joint:
        batches = [torch.cat(pair) for pair in zip(real, fakes, strict=True)]
    else:
        batches = [real[0], fakes[0], real[1], fakes[1]]
    retake_running_statistics(expected, [(batch,) for batch in batches])
    assert len(means(expected)) == 7
    torch.testing.assert_close(means(source.network), means(expected))
    assert all(not torch.allclose(a, b) for a, b in zip(means(source.network), means(before), strict=True))


def test_bad_images_are_skipped_as_in_the_training(
    tmp_path: Path, image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (image_folder / "a" / "bad.png").write_bytes(b"no image")
    source = load_export_source(run_of("sn", data=str(image_folder), skip_bad_images=True), "discriminator")
    assert len(TrainingImages(source, ImageOptions(), "--int8").train) == 24
    with pytest.raises(UserError, match="1 image cannot be read"):
        TrainingImages(dataclasses.replace(source, skip_bad_images=False), ImageOptions(), "--int8")


def test_a_generator_and_a_classifier(here: Path) -> None:
    source = load_export_source(here, None, uint8=True)
    assert isinstance(source.network, Uint8Generator)
    expected = copy.deepcopy(source.network.generator)
    assert use_precise_statistics(source, 2, None)
    use_standing_statistics(expected, 2, 3, latent_dim=TINY["latent_dim"])
    torch.testing.assert_close(means(source.network), means(expected), rtol=0, atol=0)

    source = load_export_source(Path("k.pt"), None)
    images = TrainingImages(source, ImageOptions(data="digits"), "--precise-stats")
    expected = copy.deepcopy(source.network)
    count = len(images.train)
    assert use_precise_statistics(source, 23, images) and 22 * 64 < count < 23 * 64  # the order begins again
    order = torch.randperm(count, generator=torch.Generator().manual_seed(3)).repeat(2)
    parts = [images.inputs(images.train, order[batch * 64 : (batch + 1) * 64]) for batch in range(23)]
    retake_running_statistics(expected, parts)
    torch.testing.assert_close(means(source.network), means(expected))


def test_the_file_records_them(here: Path, call: Call) -> None:
    from safetensors import safe_open

    def recipe(path: Path) -> dict[str, Any]:
        with safe_open(path, "pt") as file:
            return json.loads(file.metadata()["recipe"])

    options = ExportOptions(here, format="safetensors", out=Path("a.safetensors"), precise_stats=2)
    assert recipe(export_network(options))["precise_stats"] == 2
    flags = ["--format", "safetensors", "--precise-stats", 2]
    code, told = call("export", run_of("sn"), "--what", "discriminator", *flags, "--out", "b.safetensors")
    assert code == 0 and "--precise-stats 2: this discriminator has no running statistics, so nothing changes" in told
    assert "precise_stats" not in recipe(Path("b.safetensors"))
    code, told = call("export", here, *flags, "--data", "digits", "--out", "c.safetensors")
    assert code == 2 and "--data: for a generator --precise-stats needs latents alone; leave it out" in told
    code, told = call("export", here, "--what", "discriminator", *flags, "--num", 3, "--out", "c.safetensors")
    assert code == 2 and "--num: only for --int8" in told and not Path("c.safetensors").exists()
