"""`--init`: what is taken from another run, what is not, and that the run then stands on its own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import gan
from gan.config.train_config import TrainConfig
from gan.data.image_set import ImageSet
from gan.errors import UserError
from gan.models import build_discriminator, build_generator
from gan.runs import checkpoint
from gan.runtime import Runtime
from gan.training.trainer import Trainer
from gan.training.transfer import copy_layers, read_source, take_weights
from tests.conftest import TINY
from tests.helpers.commands import Call
from tests.helpers.states import same_bytes

Make = Callable[..., TrainConfig]
MakeImages = Callable[..., ImageSet]
NETWORKS = {"generator": "generator", "average": "average", "discriminator": "discriminator"}


def trained(make: Make, images: ImageSet, runtime: Runtime, path: Path, **settings: Any) -> Trainer:
    """A training of two steps, saved at a path."""
    job = Trainer(make(**settings, seed=7, ema_half_life=100.0), runtime, images)
    for _ in range(2):
        job.train_step()
    checkpoint.save_checkpoint(path, job.state())
    return job


def test_equal_networks_take_all(
    tiny: Make, image_set: MakeImages, runtime: Runtime, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = trained(tiny, image_set(), runtime, tmp_path / "s.pt", norm="msn")
    job = Trainer(tiny(norm="msn"), runtime, image_set())
    entry = take_weights(job, read_source(tmp_path / "s.pt"))
    for name in NETWORKS:
        same_bytes(job.state()[name], source.state()[name], name)
    assert job.step == 0 and not job.g_optimizer.state
    assert entry["layers"] == {
        "generator": {"taken": 9, "new": 0},
        "average": {"taken": 9, "new": 0},
        "discriminator": {"taken": 15, "new": 0},
    }
    assert entry["step"] == 2 and entry["sha256"] == checkpoint.read_checkpoint(tmp_path / "s.pt").sha256
    assert "9 of 9 layers of G, 9 of 9 of its average, 15 of 15 of D\n" in capsys.readouterr().err


@pytest.mark.parametrize("count", [2, 5])
def test_other_classes_take_all_but_their_tables(
    tiny: Make, image_set: MakeImages, runtime: Runtime, tmp_path: Path, count: int
) -> None:
    settings = {"norm": "sn", "conditional": True, "network": "resnet"}
    source = trained(tiny, image_set(), runtime, tmp_path / "s.pt", **settings)
    images = image_set()
    assert images.pixels is not None
    others = ImageSet.of(images.pixels, torch.arange(24) % count, "abcde"[:count])
    job, fresh = (Trainer(tiny(**settings), runtime, others) for _ in range(2))
    entry = take_weights(job, read_source(tmp_path / "s.pt"))
    for name in NETWORKS:
        taken, old, start = job.state()[name], source.state()[name], fresh.state()[name]
        tables = {key for key in taken if ".scale." in key or ".shift." in key or "embedding" in key}
        assert tables and {key for key in taken if taken[key].shape != old[key].shape} < tables | {""}
        for key, value in taken.items():
            torch.testing.assert_close(value, (start if key in tables else old)[key], rtol=0, atol=0, msg=key)
    assert entry["layers"]["discriminator"]["new"] == 1


def test_other_sizes_take_the_layers_that_fit(
    tiny: Make, image_set: MakeImages, runtime: Runtime, tmp_path: Path
) -> None:
    source = trained(tiny, image_set(), runtime, tmp_path / "s.pt")
    job = Trainer(tiny(channels=1), runtime, image_set(channels=1))
    start = {name: value.clone() for name, value in job.generator.state_dict().items()}
    take_weights(job, read_source(tmp_path / "s.pt"))
    ours, theirs = job.generator.state_dict(), source.generator.state_dict()
    for name, value in ours.items():
        fits = not name.startswith("to_image")  # neither its weight (·, 1, 3, 3) nor the bias that belongs to it
        torch.testing.assert_close(value, theirs[name] if fits else start[name], rtol=0, atol=0)


@pytest.mark.parametrize(
    "source, target, fits",
    [("sn", "msn", True), ("msn", "sn", False), ("sn", "sn+bn", True), ("none", "bn", True), ("none", "mean", True)]
    + [
        ("sn", "none", False),
        ("sn", "orth", False),
        ("orth", "sn", False),
        ("wn", "none", False),
        ("sn", "sn-conv", False),
    ],
)
def test_another_norm_takes_layers_of_the_same_weight_map(source: str, target: str, fits: bool) -> None:
    config = TrainConfig(d_width=4, seed=3)
    theirs = build_discriminator(config.replace({"norm": source}))
    ours = build_discriminator(config.replace({"norm": target, "seed": 4}))
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    result = copy_layers(ours, theirs.state_dict())
    assert ("layers.0" in result.taken) == fits
    changed = {name for name, value in ours.state_dict().items() if (value != before[name]).any()}
    assert any(name.startswith("layers.0.") and "weight" in name for name in changed) == fits


@pytest.mark.parametrize("shape", [(1, 2, 2), (3, 2, 2)])
def test_a_bias_of_another_shape_does_not_fit(shape: tuple[int, ...]) -> None:
    """A network of one's own may have a parameter of this name alone."""
    network = nn.Module()
    network.const = nn.Module()
    network.const.bias = nn.Parameter(torch.zeros(4, 2, 2))
    assert copy_layers(network, {"const.bias": torch.ones(shape)}).new == ["const"]
    assert not network.const.bias.any()


def test_nothing_in_common_is_refused(tiny: Make, image_set: MakeImages, runtime: Runtime, tmp_path: Path) -> None:
    trained(tiny, image_set(), runtime, tmp_path / "s.pt")
    job = Trainer(tiny(network="resnet", g_width=5), runtime, image_set())
    with pytest.raises(UserError, match=r"^--init .*s.pt: no layer of its generator has the name and shape"):
        take_weights(job, read_source(tmp_path / "s.pt"))
    copied = copy_layers(build_generator(tiny(network="resnet")), {})
    assert not copied.taken and copied.new


def test_a_run_that_began_from_another(call: Call, image_folder: Path, tmp_path: Path) -> None:
    """Named as a run; recorded; resumed to the same bytes after its source is gone."""
    settings = {**TINY, "data": image_folder, "report_every": 0, "preset": "msn-dcgan"}
    gan.train("a", **settings, out=tmp_path)
    for name, steps in (("whole", 6), ("b", 4)):
        began = gan.train(
            name, **{**settings, "steps": steps}, init=tmp_path / "checkpoints" / "a", out=tmp_path, seed=1
        )
    first = checkpoint.load_checkpoint(tmp_path / "checkpoints" / "whole" / "step-00000002.pt")
    record = json.loads((began.folder / "config.json").read_text())["init"]
    assert record["sha256"] == checkpoint.read_checkpoint(tmp_path / "checkpoints" / "a" / "step-00000004.pt").sha256
    assert record["step"] == 4 and first["step"] == 2
    shutil.rmtree(tmp_path / "checkpoints" / "a")
    assert gan.train("b", resume=True, steps=6, out=tmp_path).finished
    states = [
        checkpoint.load_checkpoint(tmp_path / "checkpoints" / name / "step-00000006.pt") for name in ("b", "whole")
    ]
    for name in ("generator", "discriminator", "average", "g_optimizer", "d_optimizer"):
        same_bytes(states[0][name], states[1][name], name)


def test_wrong_sources_are_refused_before_any_work(call: Call, image_folder: Path, tmp_path: Path) -> None:
    flags = ["--data", image_folder, "--steps", 1]
    code, told = call("train", "r", *flags, "--init", "nowhere.pt")
    assert code == 1 and "nowhere.pt: no such checkpoint or run" in told and not Path("checkpoints").exists()
    Path("bad.pt").write_bytes(b"pickle")
    code, told = call("train", "r", *flags, "--init", "bad.pt", "--dry-run")
    assert code == 1 and "bad.pt: is not a complete msn-gan checkpoint" in told
    gan.train("a", **{**TINY, "data": image_folder, "report_every": 0, "preset": "msn-dcgan"}, out=tmp_path / "a")
    source = tmp_path / "a" / "checkpoints" / "a"
    small = [*flags, "--preset", "sngan-resnet", "--g-width", 4, "--d-width", 4]
    code, told = call("train", "r", *small, "--init", source, "--dry-run")
    assert code == 1 and "no layer of its generator has the name and shape of one of this run" in told
    checkpoint.save_checkpoint(Path("c.pt"), {"kind": "classifier"})
    code, told = call("train", "r", *flags, "--init", "c.pt")
    assert code == 1 and "c.pt: is not a checkpoint of a GAN (kind: classifier)" in told
    code, told = call("train", "r", "--resume", "--init", "c.pt")
    assert code == 2 and "--init c.pt: a resumed run has its weights already; leave it out" in told


def test_a_run_stopped_before_its_first_checkpoint_does_not_begin_without_the_weights(
    call: Call, image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {**TINY, "data": image_folder, "report_every": 0, "preset": "msn-dcgan"}
    gan.train("a", **settings, out=tmp_path)
    gan.train("b", **settings, init=tmp_path / "checkpoints" / "a", out=tmp_path)
    folder = tmp_path / "checkpoints" / "b"
    for path in [*checkpoint.list_checkpoints(folder), folder / "log.jsonl"]:
        path.unlink()
    content = json.loads((folder / "config.json").read_text())
    del content["checkpointed"]
    (folder / "config.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="^RUN b: was stopped before it had saved the weights of --init; remove"):
        gan.train("b", resume=True, out=tmp_path)


def test_dynamics_of_a_resumed_run_are_relative_to_the_transferred_weights(
    call: Call, image_folder: Path, tmp_path: Path
) -> None:
    settings = {**TINY, "data": image_folder, "report_every": 0, "preset": "msn-dcgan"}
    gan.train("a", **settings, out=tmp_path)
    init = tmp_path / "checkpoints" / "a"
    settings.update(dynamics=2, keep=1, seed=1, d_batch="joint")
    whole = gan.train("whole", **{**settings, "steps": 6}, init=init, out=tmp_path)
    gan.train("b", **{**settings, "steps": 4}, init=init, out=tmp_path)
    resumed = gan.train("b", resume=True, steps=6, out=tmp_path)
    lines = [(run.folder / "dynamics.jsonl").read_text().splitlines() for run in (whole, resumed)]
    # The sample of step 4 was the last of its run, and so a full one.
    assert [json.loads(line)["step"] for line in lines[1]] == [0, 2, 4, 6]
    assert json.loads(lines[0][-1])["activations"] == json.loads(lines[1][-1])["activations"]
    (resumed.folder / "step-00000000.pt").unlink()
    with pytest.raises(UserError, match=r"step-00000000.pt is missing, .*; resume with --dynamics 0$"):
        gan.train("b", resume=True, steps=8, out=tmp_path)
    assert gan.train("b", resume=True, steps=8, dynamics=0, out=tmp_path).finished
