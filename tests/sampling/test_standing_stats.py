"""Standing statistics against plain means over the batches' activations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from gan.config.train_config import TrainConfig
from gan.data.image_set import ImageSet
from gan.models import build_generator
from gan.runs import checkpoint
from gan.runtime import Runtime
from gan.sampling import generate
from gan.sampling.standing_stats import use_standing_statistics
from gan.training.trainer import Trainer
from gan.utils.random_streams import STANDING, random_stream
from tests.helpers.commands import Call
from tests.helpers.reports import ask

Make = Callable[..., TrainConfig]
BATCHES = 3


def batch_norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]


@pytest.mark.parametrize("network, classes", [("dcgan", 0), ("resnet", 3)])
@pytest.mark.parametrize("truncation", [None, 0.5])
def test_means_over_batches(tiny: Make, network: str, classes: int, truncation: float | None) -> None:
    config = tiny(network=network, conditional=bool(classes))
    generator, twin = build_generator(config, classes).double(), build_generator(config, classes).double()
    generator.eval()
    seen: list[list[torch.Tensor]] = [[] for _ in batch_norms(twin)]
    for norm, inputs in zip(batch_norms(twin.train()), seen, strict=True):
        norm.register_forward_pre_hook(lambda _, given, inputs=inputs: inputs.append(given[0].detach()))
    for batch in range(BATCHES):
        stream = random_stream(5, STANDING, batch)
        z = torch.empty(64, 8).normal_(generator=stream)
        if truncation is not None:
            stream = random_stream(5, STANDING, batch)
            nn.init.trunc_normal_(z, a=-truncation, b=truncation, generator=stream)
        labels = (torch.arange(64) + 64 * batch) % classes if classes else None
        with torch.no_grad():
            twin(z.double(), labels)
    momenta = [norm.momentum for norm in batch_norms(generator)]
    with pytest.MonkeyPatch.context() as patch:  # the latents are fp32
        forward = generator.forward
        patch.setattr(generator, "forward", lambda z, labels=None: forward(z.double(), labels))
        options: dict[str, Any] = {"latent_dim": 8, "classes": classes, "truncation": truncation}
        assert use_standing_statistics(generator, BATCHES, 5, **options)
    for norm, inputs in zip(batch_norms(generator), seen, strict=True):
        assert norm.running_mean is not None and norm.running_var is not None
        means = np.mean([x.numpy().mean((0, 2, 3)) for x in inputs], axis=0)
        np.testing.assert_allclose(norm.running_mean.numpy(), means, rtol=1e-9, atol=1e-12)
        flat = [x.numpy().transpose(1, 0, 2, 3).reshape(x.shape[1], -1) for x in inputs]
        variances = np.mean([x.var(1, ddof=1) for x in flat], axis=0)
        np.testing.assert_allclose(norm.running_var.numpy(), variances, rtol=1e-9)
    assert [norm.momentum for norm in batch_norms(generator)] == momenta
    assert not any(module.training for module in generator.modules())


def test_a_function_of_the_seed_alone(tiny: Make) -> None:
    generators = [build_generator(tiny()) for _ in range(3)]
    generators[1](torch.randn(9, 8))  # other running statistics before
    for generator, seed in zip(generators, (1, 1, 2), strict=True):
        use_standing_statistics(generator, 2, seed, latent_dim=8)
    first, second, other = (generator.state_dict() for generator in generators)
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    assert any((first[name] != other[name]).any() for name in first if "running" in name)
    weights = dict(build_generator(tiny()).named_parameters())
    assert all(torch.equal(value, first[name]) for name, value in weights.items())


def test_without_batch_norm(capsys: pytest.CaptureFixture[str]) -> None:
    network = nn.Sequential(nn.Linear(8, 3), nn.BatchNorm1d(3, track_running_stats=False))
    before = network[0].weight.detach().clone()
    assert not use_standing_statistics(network, 4, 0, latent_dim=8)
    assert "--standing-stats 4: this generator has no batch norm; its images are the same" in capsys.readouterr().err
    assert network.training and torch.equal(network[0].weight, before)


@pytest.fixture
def run(tiny: Make, image_set: Callable[..., ImageSet], runtime: Runtime, tmp_path: Path) -> Path:
    """A checkpoint of a training of two steps."""
    job = Trainer(tiny(channels=1), runtime, image_set(channels=1))
    for _ in range(2):
        job.train_step()
    path = tmp_path / "step-00000002.pt"
    checkpoint.save_checkpoint(path, job.state())
    return path


def test_sample(run: Path, call: Call) -> None:
    """The first images do not depend on the number of images, and differ from those of the trained statistics."""
    import gan

    few, more = (gan.sample(run, num=count, seed=3, standing_stats=2, device="cpu") for count in (3, 70))
    assert torch.equal(few, more[:3])
    assert not torch.equal(few, gan.sample(run, num=3, seed=3, device="cpu"))
    loaded = gan.load_generator(run, device="cpu")
    use_standing_statistics(loaded.network, 2, 3, latent_dim=8)
    assert torch.equal(few, generate.render(loaded.network, generate.latents(3, range(3), 8)))
    code, _ = call("sample", run, "--num", 4, "--standing-stats", 2, "--seed", 3, "--out", "a.png", "--device", "cpu")
    assert code == 0
    code, told = call("sample", run, "--standing-stats", -1)
    assert code == 2 and "--standing-stats" in told
    code, told = call("sample", run, "--standing-stats", 2, "--num", 3, "--timelapse", "t.gif")
    assert code == 2 and "--num, --standing-stats: not with --timelapse, which shows the grids that the run" in told
    code, told = call("sample", run, "--num", 12, "--out", "images", "--device", "cpu")
    code, told = call("report", "images", "--data", "digits", "--standing-stats", 2)
    assert code == 2 and "--standing-stats 2: is for checkpoints; no target is one" in told


def test_report(run: Path, tmp_path: Path) -> None:
    common: dict[str, Any] = {"data": "digits", "metrics": ("fid",)}
    plain = ask(tmp_path / "a", run, **common)
    standing = ask(tmp_path / "b", run, standing_stats=2, **common)
    again = ask(tmp_path / "c", run, standing_stats=2, **common)
    assert plain["results"][0]["protocol"]["standing_stats"] == 0
    assert standing["results"][0]["protocol"]["standing_stats"] == 2
    assert standing["results"][0]["fid"] == again["results"][0]["fid"] != plain["results"][0]["fid"]
    assert standing["settings"]["standing_stats"] == 2 and standing["question"] != plain["question"]
    assert "standing_stats" not in plain["settings"]
