"""Networks as if they had been trained."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from gan.models.classifiers import build_classifier, classifier_state
from gan.norm import power_iterate
from gan.runs import checkpoint
from gan.training import train
from tests.conftest import TINY
from tests.helpers.commands import Call


@pytest.fixture
def lived() -> Callable[..., nn.Module]:
    """Gives a network weights, scales, shifts and running statistics of which none is 0 or 1, and evaluation mode.

    The weights have the variance `gain` / fan-in.
    """

    @torch.no_grad()
    def live(network: nn.Module, gain: float = 2.0) -> nn.Module:
        draw = torch.Generator().manual_seed(0)
        for name, value in [*network.named_parameters(), *network.named_buffers()]:
            if not value.is_floating_point():
                continue
            noise = torch.randn(value.shape, generator=draw)
            if name.endswith("running_var"):
                value.copy_(0.5 + noise.abs())
            elif value.dim() < 2 or name.endswith((".scale.weight", ".shift.weight")):
                value.add_(0.3 * noise)
            else:
                value.copy_(noise * (gain / value[0].numel()) ** 0.5)
        power_iterate(network, 20)
        return network.eval()

    return live


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs of a few steps, `plain` and `classes` (a conditional ResNet), and a classifier, `k.pt`."""
    root = tmp_path_factory.mktemp("made")
    flags: dict[str, Any] = {**TINY, "channels": 1, "report_every": 0, "g_lr": 0.1, "ema_half_life": 1e6}
    for name, more in (("plain", {}), ("classes", {"network": "resnet", "conditional": True})):
        train.train_run(name, None, None, {**flags, **more}, resume=False, dry_run=False, root=root, device="cpu")
    network = build_classifier("cnn3", "msn", resolution=28, channels=1, classes=10)
    checkpoint.save_checkpoint(root / "k.pt", classifier_state(network, "cnn3", "msn", "0123456789"))
    return root


@pytest.fixture
def here(made: Path, call: Call) -> Path:
    """The run `plain`, in a copy of that folder in which commands are run."""
    shutil.copytree(made, Path(), dirs_exist_ok=True)
    return Path("checkpoints/plain")
