"""What a training starts from, as hashes: those of the norms that are compared must agree."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils import parametrize

from gan.trainer import Trainer


def raw_weights(network: nn.Module) -> Iterator[Tensor]:
    """The weights of all layers before any normalization, in order of the layers.

    SN keeps the raw weight W beside what it computes of it. Weight norm keeps a length and a direction; the direction
    is W as long as it has not been trained.
    """
    for module in network.modules():
        if not isinstance(module, (nn.Linear, nn.Embedding, _ConvNd)):
            continue
        weight = module.weight
        if parametrize.is_parametrized(module):
            stored = module.get_submodule("parametrizations.weight")
            weight = stored.get_parameter("original1" if hasattr(stored, "original1") else "original")
        yield weight.detach()


def start_of(job: Trainer) -> dict[str, str]:
    """SHA-256 of what a training that has not begun starts from, hex.

    `generator`: all its weights and statistics. `discriminator`: its raw weights. `inputs`: images and latents of the
    first step; those of later steps are functions of the same seed.
    """
    draws = job.inputs.draws(0, own_latents=True)
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
