"""`--init`: start a run from the weights of another one, also of other images, classes or sizes where they fit."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from gan.data.source import list_names
from gan.distributed import collectives
from gan.errors import UserError
from gan.runs.checkpoint import CheckpointFile, train_config_of
from gan.runs.locate import find_checkpoint
from gan.training.trainer import Trainer
from gan.utils.progress import say

_MAX_LISTED = 3  # names of layers in a message


class Taken(NamedTuple):
    """Names of a network's layers (modules that have tensors of their own) by where their weights are from."""

    taken: list[str]
    new: list[str]
    """Layers that keep their initial weights."""

    def __str__(self) -> str:
        return f"{len(self.taken)} of {len(self.taken) + len(self.new)}"


def read_source(path: Path) -> CheckpointFile:
    """Read the checkpoint that `--init` names, for all ranks.

    Args:
        path: a checkpoint, or the folder of a run, whose newest whole checkpoint is taken.

    Raises:
        UserError: there is no whole checkpoint of a GAN at `path`.
    """

    def read() -> CheckpointFile:
        file = find_checkpoint(path, "train --init")
        train_config_of(file.state, file.path)
        return file

    return collectives.on_rank0(read)


def take_weights(trainer: Trainer, source: CheckpointFile) -> dict[str, Any]:
    """Copy weights of G, its average and D from a checkpoint into a new training, and say which were taken.

    Optimizers, step and random streams are those of the new run.

    Returns:
        the entry of config.json: path, hash and step of the checkpoint, and the numbers of layers taken.

    Raises:
        UserError: no layer of the generator fits, or the checkpoint lacks a network.
    """
    networks = {
        "generator": trainer.generator,
        "average": trainer.ema.network,
        "discriminator": trainer.discriminator,
    }
    try:
        results = {name: copy_layers(network, source.state[name]) for name, network in networks.items()}
    except KeyError as error:
        raise UserError(f"--init {source.path}: has no entry {error}") from error
    if not results["generator"].taken:
        raise UserError(
            f"--init {source.path}: no layer of its generator has the name and shape of one of this run; choose its "
            "--network and --g-width"
        )
    new = [
        f"{short} {name}" for short, key in (("G", "generator"), ("D", "discriminator")) for name in results[key].new
    ]
    rest = f"; new: {list_names(new, _MAX_LISTED)}" if new else ""
    say(
        f"weights of {source.path}: {results['generator']} layers of G, {results['average']} of its average, "
        f"{results['discriminator']} of D{rest}"
    )
    return {
        "checkpoint": str(source.path),
        "sha256": source.sha256,
        "step": source.state["step"],
        "layers": {name: {"taken": len(result.taken), "new": len(result.new)} for name, result in results.items()},
    }


@torch.no_grad()
def copy_layers(network: nn.Module, source: dict[str, Tensor]) -> Taken:
    """Copy each layer that fits from a state dict into a network.

    A layer is copied if its tensors (weight, parametrization, vectors of its power iteration) have the same names and
    shapes in the source; an extra bias in the source is ignored. So `msn` can start from `sn`, which has the same
    weight map, and `bssn` cannot. A class embedding for a different number of classes is not copied.
    """
    own, other = _by_layer(network.state_dict()), _by_layer(source)
    result = Taken([], [])
    for name, tensors in own.items():
        found = other.get(name, {})
        shapes, found_shapes = ({key: value.shape for key, value in group.items()} for group in (tensors, found))
        if "bias" not in shapes:
            found_shapes.pop("bias", None)
        if found_shapes == shapes:
            for key, value in tensors.items():
                value.copy_(found[key])
            result.taken.append(name)
        else:
            result.new.append(name)
    return result


def _by_layer(state: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Tensors of a state dict by layer, then by their name within it.

    A layer inside `gan.norm.Normalized`, where it is called `layer`, has the name that it has without.
    """
    layers: dict[str, dict[str, Tensor]] = {}
    for key, value in state.items():
        path, parametrized, rest = key.partition(".parametrizations.")
        if not parametrized:
            path, _, rest = key.rpartition(".")
        layers.setdefault(path.removesuffix(".layer"), {})[f"{parametrized}{rest}"] = value
    return layers
