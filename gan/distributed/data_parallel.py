"""Data-parallel training: gradient averaging, and a check that all ranks have equal weights.

torch's DistributedDataParallel is not used: it rebuilds its buckets after the first step, which changes the order in
which the gradients of more than two ranks are added, so that a resumed run would not repeat the bits of one that was
never stopped. It also wraps the network, which complicates its state dict, hooks, and two forward passes before one
backward pass. The hooks here overlap communication with the backward pass in the same way.
"""

import hashlib
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from gan.distributed import collectives, process_group
from gan.errors import UserError

_BUCKET_BYTES = 2**22  # of gradients that are summed together


class GradientAverager:
    """Averages a network's gradients over ranks, in buckets that are summed during the backward pass.

    The sum of a bucket starts when its last gradient is ready. The order is the same on every rank, as autograd runs
    the same graph there, so that these sums do not mix with those of centering and batch norm.

    Args:
        network: the gradients of its parameters are averaged, but of those that are frozen now.
        passes: backward passes that accumulate a gradient; the sums start in the last one.
    """

    def __init__(self, network: nn.Module, passes: int = 1) -> None:
        self._passes = passes
        self._buckets: list[list[nn.Parameter]] = [[]]
        trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
        for parameter in reversed(trained):  # gradients are ready from the last layer to the first
            if sum(p.nbytes for p in self._buckets[-1]) >= _BUCKET_BYTES:
                self._buckets.append([])
            self._buckets[-1].append(parameter)
        for number, bucket in enumerate(self._buckets):
            for parameter in bucket:
                parameter.register_post_accumulate_grad_hook(self._hook(number))
        self._pending = self._expected()
        """Gradients that each bucket still waits for."""
        self._started: dict[int, tuple[Tensor, Callable[[], None]]] = {}
        """Sum of each started bucket, and the function that waits for it."""

    def wait(self) -> None:
        """Wait for the sums after the last backward pass, and write the means into the gradients."""
        for number in range(len(self._buckets)):
            if number not in self._started:
                self._start(number)  # some parameter has no gradient, which is the case on all ranks
        for number, (total, wait) in self._started.items():
            wait()
            gradients = self._gradients(number)
            parts = (total / process_group.world_size()).split([gradient.numel() for gradient in gradients])
            for gradient, part in zip(gradients, parts, strict=True):
                gradient.copy_(part.view(gradient.shape))
        self._started.clear()
        self._pending = self._expected()

    def _hook(self, number: int) -> Callable[[Tensor], None]:
        def gradient_ready(parameter: Tensor) -> None:
            self._pending[number] -= 1
            if self._pending[number] == 0:
                self._start(number)

        return gradient_ready

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
    """The images of all ranks, (R*N, C, H, W) from (N, C, H, W), by rank."""
    return collectives.all_gather_tensor(images).flatten(0, 1)


def gather_scalars(own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The scalars of all ranks for a checkpoint, (R,) from (), by rank; for a single rank, copies of its own, ()."""
    if process_group.world_size() == 1:
        return {name: value.clone() for name, value in own.items()}
    by_rank = collectives.all_gather({name: value.cpu() for name, value in own.items()})
    return {name: torch.stack([scalars[name] for scalars in by_rank]) for name in own}


def own_scalars(gathered: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """This rank's scalars in a result of `gather_scalars`; their mean, if the number of ranks was another."""
    shape, rank = (process_group.world_size(),), process_group.rank()
    return {name: values[rank] if values.shape == shape else values.mean() for name, values in gathered.items()}


def require_equal_weights(**networks: nn.Module) -> None:
    """Raise a UserError, with network and rank, if a weight or buffer of a rank has other bytes than rank 0's."""
    digests = collectives.all_gather({name: _digest(network) for name, network in networks.items()})
    for rank, digests_of_rank in enumerate(digests):
        for name, digest in digests_of_rank.items():
            if digest != digests[0][name]:
                raise UserError(
                    f"rank {rank} has other weights of the {name} than rank 0: the machines compute differently; use "
                    "machines of one kind and the same version of torch, and resume the last checkpoint with --resume"
                )


def _digest(network: nn.Module) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for value in network.state_dict().values():
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
