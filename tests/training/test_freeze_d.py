"""`--freeze-d`: the first blocks of D keep their weights, under every norm, and the others train as they would."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from gan.config.train_config import TrainConfig
from gan.data.image_set import ImageSet
from gan.dynamics.layers import raw_weight, weighted_layers
from gan.errors import UsageError
from gan.models.freezing import describe_frozen, discriminator_blocks, freeze_blocks
from gan.norm import NORMS, power_iterate, spectral_norms
from gan.runtime import Runtime
from gan.training.trainer import Trainer
from tests.helpers.commands import Call
from tests.helpers.states import same_bytes, trained

Make = Callable[..., TrainConfig]
MakeImages = Callable[..., ImageSet]


@pytest.mark.parametrize("norm", [*NORMS, "sn+bn", "sn+gradnorm"])
@pytest.mark.parametrize("network, frozen", [("dcgan", 2), ("resnet", 1)])
def test_only_later_blocks_are_trained(
    tiny: Make, image_set: MakeImages, runtime: Runtime, norm: str, network: str, frozen: int
) -> None:
    job = Trainer(tiny(norm=norm, network=network, freeze_d=frozen, n_dis=2), runtime, image_set())
    blocks = discriminator_blocks(job.discriminator)
    before = [[parameter.detach().clone() for parameter in block.parameters()] for block in blocks]
    for _ in range(2):
        job.train_step()
    for number, (block, old) in enumerate(zip(blocks, before, strict=True)):
        changed = [bool((new != was).any()) for new, was in zip(block.parameters(), old, strict=True)]
        assert any(changed) == (number >= frozen), number
    assert all(parameter.grad is None for block in blocks[:frozen] for parameter in block.parameters())
    assert any(raw_weight(layer).requires_grad for layer in weighted_layers(job.discriminator).values())


def test_others_train_as_if_the_first_had_no_learning_rate(tiny: Make, image_set: MakeImages, runtime: Runtime) -> None:
    settings = {"norm": "sn", "loss": "relativistic", "r1": 1.0, "freeze_d": 1, "network": "resnet"}
    frozen = Trainer(tiny(**settings), runtime, image_set())
    free = Trainer(tiny(**{**settings, "freeze_d": 0}), runtime, image_set())
    first = list(discriminator_blocks(free.discriminator)[0].parameters())
    free.d_optimizer.param_groups[0]["params"] = [
        parameter for parameter in free.discriminator.parameters() if not any(parameter is other for other in first)
    ]
    for _ in range(3):
        frozen.train_step()
        free.train_step()
    for network in ("generator", "discriminator"):
        ours, theirs = (getattr(job, network).state_dict() for job in (frozen, free))
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_power_iteration_goes_on(tiny: Make, image_set: MakeImages, runtime: Runtime) -> None:
    job = Trainer(tiny(norm="sn", freeze_d=2), runtime, image_set())
    expected = Trainer(tiny(norm="sn"), runtime, image_set()).discriminator
    power_iterate(expected, 3)
    for _ in range(3):
        job.train_step()
    for (name, ours, _), (_, theirs, _) in list(
        zip(spectral_norms(job.discriminator), spectral_norms(expected), strict=True)
    )[:2]:
        torch.testing.assert_close(ours.u, theirs.u, msg=name)


def test_a_resumed_run_keeps_them_frozen(tiny: Make, image_set: MakeImages, runtime: Runtime) -> None:
    config, data = tiny(norm="msn", freeze_d=3), image_set()
    whole, part = trained(config, runtime, data, 4), trained(config, runtime, data, 2)
    resumed = trained(config, runtime, data, 2, part.state())
    for name in ("generator", "discriminator", "d_optimizer"):
        same_bytes(resumed.state()[name], whole.state()[name], name)


def test_too_many_are_refused(tiny: Make, image_set: MakeImages, runtime: Runtime) -> None:
    assert len(discriminator_blocks(Trainer(tiny(freeze_d=7), runtime, image_set()).discriminator)) == 7
    with pytest.raises(UsageError, match="^--freeze-d 8: this discriminator has 7 blocks$"):
        Trainer(tiny(freeze_d=8), runtime, image_set())
    with pytest.raises(UsageError, match="^--freeze-d 1: this discriminator has no `blocks` or `layers`, a torch.nn"):
        freeze_blocks(nn.Linear(1, 1), 1)
    freeze_blocks(nn.Linear(1, 1), 0)
    whole = nn.Module()
    whole.layers = nn.Sequential(nn.Linear(1, 1))
    with pytest.raises(UsageError, match="^--freeze-d 1: leaves no parameter of the discriminator to train$"):
        freeze_blocks(whole, 1)


def test_it_is_told(call: Call, image_folder: Path) -> None:
    flags: list[Any] = ["--data", image_folder, "--channels", 3, "--steps", 1, "--batch", 8, "--report-every", 0]
    flags += ["--g-width", 4, "--d-width", 4, "--norm", "none", "--dynamics", 1, "--preset", "msn-dcgan"]
    code, told = call("train", "r", *flags, "--freeze-d", 2)
    frozen = (3 * 4 * 9 + 4) + (4 * 4 * 16 + 4)
    assert code == 0 and f"parameters ({frozen} frozen: the first 2 of 7 blocks)" in told
    assert "--freeze-d 2: the frozen blocks of D keep their random weights; give --init for others" in told
    code, told = call("train", "t", *flags, "--freeze-d", 2, "--init", "checkpoints/r")
    assert code == 0 and "random weights" not in told
    code, told = call("train", "s", *flags, "--freeze-d", 9)
    assert code == 2 and "--freeze-d 9: this discriminator has 7 blocks" in told
    assert describe_frozen(nn.Linear(1, 1), 0) == ""
