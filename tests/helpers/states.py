"""Trainings to compare, and the comparison of their states"""

from __future__ import annotations

from typing import Any

import torch

from gan.config.train_config import TrainConfig
from gan.data.image_set import ImageSet
from gan.runtime import Runtime
from gan.training.trainer import Trainer


def trained(config: TrainConfig, runtime: Runtime, images: ImageSet, steps: int, state: Any = None) -> Trainer:
    """A training after some steps from the start or from the state of another one."""
    trainer = Trainer(config, runtime, images)
    if state is not None:
        trainer.load_state(state)
    for _ in range(steps):
        trainer.train_step()
    return trainer


def weights(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """A copy of a network's state."""
    return {key: value.clone() for key, value in network.state_dict().items()}


def same_bytes(a: Any, b: Any, where: str = "") -> None:
    """Compare two states tensor by tensor, byte by byte."""
    assert type(a) is type(b), where
    if isinstance(a, torch.Tensor):
        assert a.dtype == b.dtype and a.shape == b.shape, where
        assert a.contiguous().numpy().tobytes() == b.contiguous().numpy().tobytes(), where
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            same_bytes(a[key], b[key], f"{where}/{key}")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), where
        for index, (x, y) in enumerate(zip(a, b, strict=True)):
            same_bytes(x, y, f"{where}/{index}")
    else:
        assert a == b, where
