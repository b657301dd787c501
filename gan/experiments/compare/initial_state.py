"""What a training starts from, as hashes: those of the norms that are compared must agree."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from torch import Tensor, nn

from gan.dynamics.layers import raw_weight, weighted_layers
from gan.training.trainer import Trainer


def raw_weights(network: nn.Module) -> Iterator[Tensor]:
    """The weights of all layers before any normalization, in order of the layers.

    Of weight norm that is the direction, which is W as long as it has not been trained.
    """
    return (raw_weight(layer).detach() for layer in weighted_layers(network).values())


def initial_state_hashes(job: Trainer) -> dict[str, str]:
    """SHA-256 of what a training that has not begun starts from, hex.

    `generator`: all its weights and statistics. `discriminator`: its raw weights. `inputs`: images and latents of the
    first step; those of later steps are functions of the same seed.
    """
    draws = job.inputs.step_inputs(0, own_latents=True)
    return {
        "generator": _hash(job.generator.state_dict().values()),
        "discriminator": _hash(raw_weights(job.discriminator)),
        "inputs": _hash(tensor for draw in draws for tensor in draw.tensors()),
    }


def _hash(tensors: Iterable[Tensor]) -> str:
    total = hashlib.sha256()
    for tensor in tensors:
        total.update(str((tuple(tensor.shape), tensor.dtype)).encode())
        total.update(tensor.cpu().contiguous().numpy().tobytes())
    return total.hexdigest()
