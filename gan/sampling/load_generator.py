"""Load the generator of a checkpoint"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from gan.config.train_config import TrainConfig
from gan.distributed import collectives
from gan.models import build_generator
from gan.runs import checkpoint
from gan.runs.checkpoint import train_config_of
from gan.runtime import resolve_device


def load_generator(path: Path, *, ema: bool, device: str) -> tuple[nn.Module, TrainConfig, dict[str, Any]]:
    """The generator of a checkpoint in evaluation mode, the run's settings, and the whole state.

    Args:
        path: a checkpoint, or the folder of a run, whose newest whole checkpoint is taken.
        ema: the moving average, not the trained weights themselves.

    Raises:
        UserError: there is no whole checkpoint of a GAN at `path`.
    """
    path, state = collectives.on_rank0(lambda: checkpoint.find_checkpoint(path))
    config = train_config_of(state, path)
    generator = build_generator(config, len(state["data"]["classes"]))
    checkpoint.restore_weights(generator, state, "average" if ema else "generator", path)
    generator.to(resolve_device(device)).to(memory_format=torch.channels_last).eval()
    return generator, config, state
