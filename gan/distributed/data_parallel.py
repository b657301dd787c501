"""A network that every rank holds: statistics and gradients over the whole batch, and proof that all hold the same.

torch's DistributedDataParallel is not used: it puts gradients into other buckets after the first step, which changes
the order in which more than two ranks' numbers are added, so that a resumed run would not repeat the bits of one that
was never stopped. It also wraps the network, whose state, hooks and two forward passes before one backward pass would
have to be seen to. The hooks here overlap the sums with the backward pass in the same way.
torch's SyncBatchNorm runs on CUDA only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from gan.distributed import collectives, process_group
from gan.errors import UserError

_BUCKET = 2**22  # bytes of gradients that are added up together


class GradientAverager:
    """The mean over ranks of a network's gradients, added up in buckets while the backward pass goes on.

    A bucket starts when its last gradient has come, which happens in the same order on every rank: autograd works
    through the same graph there. So it does not cross the sums that centering and batch norm make on the way.

    Args:
        network: its parameters' gradients are averaged.
        passes: backward passes that a gradient is accumulated over; only the last one is waited for.
    """

    def __init__(self, network: nn.Module, passes: int = 1) -> None:
        self._passes = passes
        self._buckets: list[list[nn.Parameter]] = [[]]
        for parameter in reversed(list(network.parameters())):  # gradients come from the last layer to the first
            if sum(p.nbytes for p in self._buckets[-1]) >= _BUCKET:
                self._buckets.append([])
            self._buckets[-1].append(parameter)
        for number, bucket in enumerate(self._buckets):
            for parameter in bucket:
                parameter.register_post_accumulate_grad_hook(self._hook(number))
        self._missing = self._expected()
        self._started: dict[int, tuple[Tensor, Callable[[], None]]] = {}

    def wait(self) -> None:
        """To be called after the last backward pass: put the means into the gradients."""
        for number in range(len(self._buckets)):
            if number not in self._started:
                self._start(number)  # a parameter has no gradient, on no rank
        for number, (total, wait) in self._started.items():
            wait()
            gradients = self._gradients(number)
            parts = (total / process_group.world_size()).split([gradient.numel() for gradient in gradients])
            for gradient, part in zip(gradients, parts, strict=True):
                gradient.copy_(part.view(gradient.shape))
        self._started.clear()
        self._missing = self._expected()

    def _hook(self, number: int) -> Callable[[Tensor], None]:
        def arrived(parameter: Tensor) -> None:
            self._missing[number] -= 1
            if self._missing[number] == 0:
                self._start(number)

        return arrived

    def _start(self, number: int) -> None:
        gradients = self._gradients(number)
        if gradients:
            total = torch.cat([gradient.reshape(-1) for gradient in gradients])
            self._started[number] = total, collectives.start_all_reduce(total)

    def _gradients(self, number: int) -> list[Tensor]:
        return [p.grad for p in self._buckets[number] if p.grad is not None]

    def _expected(self) -> list[int]:
        return [len(bucket) * self._passes for bucket in self._buckets]


def all_gather_images(images: Tensor) -> Tensor:
    """The images (R*N, C, H, W) of all ranks, from each one's (N, C, H, W), in the order of their ranks."""
    return collectives.all_gather_tensor(images).flatten(0, 1)


def gather_scalars(own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each rank's numbers for a checkpoint: (R,) from (), by rank; of one process, copies of its own."""
    if process_group.world_size() == 1:
        return {name: value.clone() for name, value in own.items()}
    by_rank = collectives.all_gather({name: value.cpu() for name, value in own.items()})
    return {name: torch.stack([numbers[name] for numbers in by_rank]) for name in own}


def own_scalars(kept: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """This rank's numbers, of those that `all_numbers` gave; where there were more or fewer ranks, their mean."""
    same = (process_group.world_size(),)
    return {name: value[process_group.rank()] if value.shape == same else value.mean() for name, value in kept.items()}


def require_equal_weights(**networks: nn.Module) -> None:
    """Let it pass if all ranks hold the same bytes in every weight and buffer.

    Raises:
        UserError: they do not; names the network and the rank.
    """
    digests = collectives.all_gather({name: _digest(network) for name, network in networks.items()})
    for number, others in enumerate(digests):
        for name, digest in others.items():
            if digest != digests[0][name]:
                raise UserError(
                    f"rank {number} holds other weights of the {name} than rank 0: their machines compute differently; "
                    "use like machines and the same version of torch, and go on from the last checkpoint with --resume"
                )


def _digest(network: nn.Module) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for value in network.state_dict().values():
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
