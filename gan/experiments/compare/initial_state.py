"""The initial state of trainings: hashes that must be equal for all arms of a seed, and facts for config.json."""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor, nn

from gan.dynamics.layers import raw_weight, weighted_layers
from gan.models import build_discriminator, count_parameters
from gan.runs.resume import image_set_record
from gan.training.trainer import Trainer


def raw_weights(network: nn.Module) -> Iterator[Tensor]:
    """Yield the weights of all layers before normalization, in the order of the layers.

    For weight norm it is the direction, which equals W until it is trained.
    """
    return (raw_weight(layer).detach() for layer in weighted_layers(network).values())


def initial_state_hashes(trainer: Trainer) -> dict[str, str]:
    """Return SHA-256 hashes, in hex, of the initial state of a new training.

    `generator`: all its weights and statistics. `discriminator`: its raw weights. `inputs`: images and latents of the
    first step; those of later steps are functions of the same seed.
    """
    step_inputs = trainer.inputs.step_inputs(0, own_latents=True)
    return {
        "generator": _hash(trainer.generator.state_dict().values()),
        "discriminator": _hash(raw_weights(trainer.discriminator)),
        "inputs": _hash(tensor for inputs in step_inputs for tensor in inputs.tensors()),
    }


def comparison_facts(trainer: Trainer) -> dict[str, Any]:
    """Return what config.json of a new comparison has besides the plan."""
    plain = build_discriminator(trainer.config.replace({"norm": "none", "norm_layers": None}), trainer.classes)
    return {"data": image_set_record(trainer.data), "plain_parameters": count_parameters(plain)}


def _hash(tensors: Iterable[Tensor]) -> str:
    total = hashlib.sha256()
    for tensor in tensors:
        total.update(str((tuple(tensor.shape), tensor.dtype)).encode())
        total.update(tensor.cpu().contiguous().numpy().tobytes())
    return total.hexdigest()
