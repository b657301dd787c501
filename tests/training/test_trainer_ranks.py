"""Training on two ranks is training on one: 20 steps of 2 x B/2 images against 20 steps of 1 x B."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from gan.config.train_config import TrainConfig
from gan.data.image_set import ImageSet
from gan.runtime import Runtime, resolve_runtime
from gan.training import step_inputs
from gan.training.trainer import Trainer
from tests.conftest import TINY
from tests.helpers.jobs import job, results

STEPS = 20
VARIANTS: dict[str, dict[str, Any]] = {
    "accumulated": {"norm": "msn", "accumulate": 2, "loss": "logistic"},
    "joint": {"norm": "msn-affine", "d_batch": "joint", "n_dis": 2, "augment": ["color", "translation", "cutout"]},
    "joint-accumulated": {"norm": "bn", "d_batch": "joint", "accumulate": 4, "loss": "relativistic"},
    "gradnorm-r1": {"norm": "sn+gradnorm", "r1": 0.5, "conditional": True},
    "conditional-r1": {"norm": "bn", "r1": 1.0, "r2": 0.5, "conditional": True, "loss": "relativistic"},
    "scheduled-frozen": {
        **{"norm": "sn", "freeze_d": 2, "r1": 0.0, "r1_end": 1.0, "beta2_end": 0.9, "schedule_images": 20},
        **{"augment": ["color"], "augment_p": 0.2, "augment_p_end": 0.7, "ema_half_life_end": 50.0},
    },
}
SLOW = {
    "gradient-penalty": {"norm": "msn", "gradient_penalty": 10.0, "loss": "wgan", "network": "resnet", "accumulate": 2},
    "gradnorm-penalty": {"norm": "gradnorm", "gradient_penalty": 10.0, "loss": "wgan"},
    "sn-conv": {"norm": "sn-conv+mean"},
    "bssn": {"norm": "bssn+group"},
    "orth": {"norm": "orth+affine-mean", "accumulate": 2},
}
NETWORKS = ("generator", "discriminator", "average")


def images() -> ImageSet:
    pixels = torch.randint(0, 256, (44, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    return ImageSet.of(pixels.to(torch.uint8), torch.arange(44) % 3, "abc")


@contextmanager
def in_float64() -> Iterator[None]:
    """Everything that is computed in fp32, in float64.

    Adam divides a gradient by its size. Where that is 0 but for rounding, as for a bias before a batch norm, the
    rounding becomes as large as a step.
    """
    single, to_float = torch.Tensor.float, step_inputs.to_float
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double  # type: ignore[method-assign]
    step_inputs.to_float = lambda pixels: to_float(pixels).double()
    try:
        yield
    finally:
        torch.Tensor.float, step_inputs.to_float = single, to_float  # type: ignore[method-assign]
        torch.set_default_dtype(torch.float32)


def _steps(settings: dict[str, Any], device: str = "cpu") -> dict[str, Any]:
    config = TrainConfig().replace({**TINY, "steps": STEPS, "log_every": 1, **settings})
    trainer = Trainer(config, resolve_runtime(device, "fp32"), images())
    entries = []
    for _ in range(config.steps):
        trainer.train_step()
        entries.append(trainer.log_entry())
    state = trainer.state()
    return {"entries": entries, **{name: state[name] for name in NETWORKS}}


def _steps_in_float64(settings: dict[str, Any]) -> dict[str, Any]:
    with in_float64():
        return _steps(settings)


def same_losses(found: dict[str, Any], expected: dict[str, Any]) -> None:
    for ours, theirs in zip(found["entries"], expected["entries"], strict=True):
        for name in ("loss_d", "loss_g", "d_real", "d_fake"):
            assert ours[name] == pytest.approx(theirs[name], rel=1e-5, abs=1e-5), (ours["step"], name)
        assert (ours["d_accuracy"], ours["images"]) == (theirs["d_accuracy"], theirs["images"])


def same_networks(found: dict[str, Any], expected: dict[str, Any], tolerance: float) -> None:
    for network in NETWORKS:
        torch.testing.assert_close(found[network], expected[network], rtol=tolerance, atol=tolerance)


def in_every_number(found: list[dict[str, Any]], alone: dict[str, Any]) -> None:
    """Runs in float64: what is logged, and every weight and buffer."""
    same_losses(found[0], alone)
    for ours, theirs in zip(found[0]["entries"], alone["entries"], strict=True):
        for name in ("grad_norm_d", "grad_norm_g", "sigma", "variety"):
            assert ours[name] == pytest.approx(theirs[name], rel=1e-9)
    same_networks(found[0], alone, 1e-7)
    same_networks(found[1], found[0], 0)
    assert found[0]["generator"]["to_image.weight"].dtype == torch.float64


@pytest.mark.parametrize("norm", ["none", "sn", "msn", "bn"])
def test_two_ranks_are_one(tmp_path: Path, norm: str) -> None:
    """20 steps of a DCGAN in float64: losses, and every weight and buffer."""
    settings = {"norm": norm, "loss": "logistic", "flip": True}
    alone = _steps_in_float64(settings)
    in_every_number(results(job(tmp_path, 2, _steps_in_float64, settings)), alone)


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["none", "sn", "msn", "bn"])
def test_two_ranks_are_one_in_single_precision(tmp_path: Path, norm: str) -> None:
    """Losses of 20 steps of a ResNet. (A DCGAN begins with gradients of 1e-8, which in fp32 are mostly rounding.)"""
    settings = {"norm": norm, "network": "resnet", "beta1": 0.0, "beta2": 0.9}
    alone = _steps(settings)
    first, second = results(job(tmp_path, 2, _steps, settings))
    same_losses(first, alone)
    same_networks(second, first, 0)


@pytest.mark.parametrize("variant", [*VARIANTS, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_two_ranks_are_one_in_every_way_of_training(tmp_path: Path, variant: str) -> None:
    settings = {**(VARIANTS | SLOW)[variant], "steps": 3}
    alone = _steps_in_float64(settings)
    in_every_number(results(job(tmp_path, 2, _steps_in_float64, settings)), alone)


def _some(settings: dict[str, Any], state: dict[str, Any] | None, steps: int) -> dict[str, Any]:
    """The state after some steps in float64, from a state or from the beginning."""
    with in_float64():
        trainer = Trainer(TrainConfig().replace({**TINY, **settings}), resolve_runtime("cpu", "fp32"), images())
        if state:
            trainer.load_state(state)
        for _ in range(steps):
            trainer.train_step()
        return trainer.state()


def test_a_run_goes_on_with_another_number_of_ranks(tmp_path: Path) -> None:
    """Two steps each on one rank, on two, and on one, against six on one; with the means that were not logged yet."""
    settings = {"norm": "msn", "steps": 6, "loss": "logistic"}
    state, other = results(job(tmp_path, 2, _some, settings, _some(settings, None, 2), 2))
    assert state["noted"]["steps"] == 4 and state["noted"]["sums"]["loss_d"].shape == (2,)
    torch.testing.assert_close(state["noted"], other["noted"], rtol=0, atol=0)
    ours, theirs = _some(settings, state, 2), _some(settings, None, 6)
    for network in NETWORKS:
        torch.testing.assert_close(ours[network], theirs[network], rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(ours["noted"], theirs["noted"], rtol=1e-9, atol=1e-9)


def _without_shared_statistics(settings: dict[str, Any]) -> dict[str, Any]:
    from gan.training import trainer as module

    module.synchronize_batch_statistics = lambda network: None  # type: ignore[assignment]
    trainer = Trainer(TrainConfig().replace({**TINY, **settings}), Runtime(torch.device("cpu"), False, 2), images())
    trainer.train_step()
    return trainer.log_entry()


def test_the_comparison_sees_statistics_of_one_rank(tmp_path: Path) -> None:
    """The test above fails if each rank is normalized by itself."""
    alone = _steps({"norm": "msn", "steps": 1})
    first, _ = results(job(tmp_path, 2, _without_shared_statistics, {"norm": "msn"}))
    assert first["loss_d"] != pytest.approx(alone["entries"][0]["loss_d"], rel=1e-5)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
@pytest.mark.parametrize("variant", ["joint", "conditional-r1", "accumulated"])
def test_two_cuda_devices_are_one(tmp_path: Path, variant: str) -> None:
    settings = {**VARIANTS[variant], "steps": 3}
    (alone,) = results(job(tmp_path / "alone", 1, _steps, settings, "cuda"))  # in a process that may be forked
    first, second = results(job(tmp_path / "together", 2, _steps, settings, "cuda"))
    for ours, theirs in zip(first["entries"], alone["entries"], strict=True):
        assert ours["loss_d"] == pytest.approx(theirs["loss_d"], rel=1e-2)  # TF32
    same_networks(second, first, 0)
