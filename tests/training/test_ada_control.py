"""Adaptive augmentation against a simulation in plain Python."""

from __future__ import annotations

import pytest
import torch

from gan.training.ada_control import AdaptiveProbability

CPU = torch.device("cpu")
SETTINGS = {"target": 0.3, "interval": 3, "kimg": 0.2}


def outputs(updates: int, size: int = 8) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """D's outputs for real and generated images: it overfits in the first half of the updates and not in the other."""
    generator = torch.Generator().manual_seed(0)
    return [
        (
            torch.randn(size, 1, generator=generator) + (2 if i < updates / 2 else -1),
            torch.randn(size, 1, generator=generator),
        )
        for i in range(updates)
    ]


def simulated(signs: list[list[int]], batch: int, target: float, interval: int, kimg: float) -> list[float]:
    """p after each update."""
    p, values, pending = 0.0, [], []
    for number, of_images in enumerate(signs, 1):
        pending += of_images
        if number % interval == 0:
            overfitting = sum(pending) / len(pending)
            step = batch * interval / (kimg * 1000)
            p = min(1.0, max(0.0, p + (step if overfitting > target else -step if overfitting < target else 0)))
            pending = []
        values.append(p)
    return values


@pytest.mark.parametrize("relative", [False, True])
def test_p_is_that_of_the_simulation(relative: bool) -> None:
    pairs = outputs(120)
    differences = [real - fake if relative else real for real, fake in pairs]
    signs = [[1 if value > 0 else -1 for value in values.flatten().tolist()] for values in differences]
    control, ours = AdaptiveProbability(8, CPU, **SETTINGS), []
    for real, fake in pairs:
        control.update(real, fake if relative else None)
        ours.append(float(control.p))
    expected = simulated(signs, 8, **SETTINGS)
    assert max(expected) == 1.0 and expected[-1] == 0.0 and 0 < expected[4] < 1  # both limits are reached
    assert ours == pytest.approx(expected, abs=1e-5)


def test_published_speed() -> None:
    """With D sure of every image, p goes from 0 to 1 in 500 thousand images, in changes every fourth update."""
    control, p = AdaptiveProbability(5000, CPU), []
    for _ in range(100):
        control.update(torch.ones(2))
        p.append(float(control.p))
    assert p[:8] == pytest.approx([0, 0, 0, 0.04, 0.04, 0.04, 0.04, 0.08]) and p[-1] == pytest.approx(1, abs=1e-6)
    assert p[-5] < 0.97


def test_on_target_p_stays() -> None:
    control = AdaptiveProbability(8, CPU, target=0.5, interval=1, p=0.25)
    control.update(torch.tensor([1.0, 2.0, 3.0, -1.0]))
    assert float(control.p) == 0.25


def test_resumes_exactly_in_the_same_tensors() -> None:
    pairs = outputs(40)
    whole = AdaptiveProbability(8, CPU, **SETTINGS)
    for real, _ in pairs[:17]:  # within an interval
        whole.update(real)
    state = whole.state_dict()
    resumed = AdaptiveProbability(8, CPU, **SETTINGS)
    tensor = resumed.p
    resumed.load_state_dict(state)
    for real, _ in pairs[17:]:
        whole.update(real)
        resumed.update(real)
        assert torch.equal(whole.p, resumed.p)
    assert tensor is resumed.p and float(state["p"]) != float(whole.p)
    with pytest.raises(KeyError, match="signs"):
        resumed.load_state_dict({"p": tensor})


@pytest.mark.parametrize("wrong", [{"target": 1.5}, {"interval": 0}, {"kimg": 0.0}, {"p": -0.1}, {"batch": 0}])
def test_wrong_arguments_are_named(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} {next(iter(wrong.values()))}"):
        AdaptiveProbability(**{"batch": 8, "device": CPU, **wrong})
