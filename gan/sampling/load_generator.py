"""Load the generator of a checkpoint"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from gan.config.choices import NETWORKS
from gan.config.train_config import TrainConfig
from gan.distributed import collectives
from gan.errors import UserError
from gan.models import build_generator
from gan.runs import checkpoint
from gan.runs.checkpoint import CheckpointFile, train_config_of
from gan.runs.listing import read_object
from gan.runs.locate import find_checkpoint
from gan.runs.own_code import import_named_code, require_used
from gan.runtime import resolve_device


class LoadedGenerator(NamedTuple):
    """A generator in evaluation mode, the config of its run, and the class names (none if it is unconditional)."""

    network: nn.Module
    config: TrainConfig
    classes: list[str]


def load_generator(
    path: Path, *, ema: bool, device: str, best: bool = False, network: Sequence[str] = ()
) -> LoadedGenerator:
    """Read a checkpoint and restore its generator. Rank 0 reads the file for all ranks.

    Args:
        path: a checkpoint, or the folder of a run, whose newest whole checkpoint is taken.
        ema: restore the EMA weights, not the trained ones.
        best: take the run's checkpoint with the lowest FID, which best.json names.
        network: networks of the user's own, as in `--network`, whose code may run.

    Raises:
        UserError: the checkpoint needs code that is not named or has changed; there is no whole checkpoint of a GAN at
            `path`, or, with `best`, no run that was scored.
    """
    path = best_checkpoint(path) if best else path
    file = collectives.on_rank0(lambda: find_checkpoint(path, "sample"))
    require_used(NETWORKS, network, [train_config_of(file.state, file.path).network], file.path)
    return restore_generator(file, ema=ema, device=resolve_device(device), network=network)


def best_checkpoint(run: Path) -> Path:
    """The checkpoint of a run with the lowest FID; a UserError if `run` is no folder, or was not scored."""
    name = read_object(run / "best.json").get("checkpoint")
    if not isinstance(name, str) or not (run / name).is_file():
        raise UserError(
            f"CHECKPOINT {run}: --best needs the folder of a run that was scored while it trained (train "
            "--report-every N), with its best.json"
        )
    return run / name


def restore_generator(
    file: CheckpointFile, *, ema: bool, device: torch.device, network: Sequence[str] = ()
) -> LoadedGenerator:
    """Restore the generator of a checkpoint that was read; a UserError if it is not of a GAN or does not fit.

    Args:
        network: see `load_generator`.
    """
    config = train_config_of(file.state, file.path)
    import_named_code(NETWORKS, config.network, network, file.state, file.path)
    classes = file.state["data"]["classes"]
    generator = build_generator(config, len(classes))
    checkpoint.restore_weights(generator, file.state, weights_entry(ema=ema), file.path)
    generator.to(device).to(memory_format=torch.channels_last).eval()
    return LoadedGenerator(generator, config, classes)


def weights_entry(*, ema: bool) -> str:
    """Entry of a checkpoint with the EMA weights of the generator, or with the trained ones."""
    return "average" if ema else "generator"
