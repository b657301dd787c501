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
from torch.nn.modules.batchnorm import _BatchNorm

from gan import exchange, ranks
from gan.errors import UserError
from gan.norm import Centering

_BUCKET = 2**22  # bytes of gradients that are added up together


class _BatchNormOverRanks(_BatchNorm):
    """Batch norm (Ioffe & Szegedy 2015, algorithm 1) with mean and variance over the batches of all ranks.

    The variance is put together from each rank's own (Chan, Golub and LeVeque 1979), so nothing cancels where the mean
    is large. It can be derived twice, as penalties on gradients need.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        self._check_input_dim(x)
        assert self.running_mean is not None
        wide = x.to(self.running_mean.dtype)  # never statistics in bf16
        dims = [d for d in range(x.dim()) if d != 1]
        own = torch.stack(torch.var_mean(wide, dims, correction=0))  # (2, C)
        variances, means = exchange.stacked(own).unbind(1)  # (R, 2, C) -> (R, C) each
        mean = means.mean(0)
        variance = variances.mean(0) + (means - mean).square().mean(0)
        self._move_averages(mean, variance, ranks.count() * x.numel() // x.shape[1])
        scale = (variance + self.eps).rsqrt()
        scale = scale if self.weight is None else scale * self.weight
        shift = -mean * scale if self.bias is None else self.bias - mean * scale
        shape = (-1,) + (1,) * (x.dim() - 2)  # (C,) -> (C, 1, ...), against (N, C, ...)
        return torch.addcmul(shift.view(shape), wide, scale.view(shape)).to(x.dtype)

    @torch.no_grad()
    def _move_averages(self, mean: Tensor, variance: Tensor, count: int) -> None:
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        momentum = 1 / self.num_batches_tracked.item() if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance * (count / (count - 1)), momentum)


class _BatchNorm1d(_BatchNormOverRanks, nn.BatchNorm1d):
    pass


class _BatchNorm2d(_BatchNormOverRanks, nn.BatchNorm2d):
    pass


class _BatchNorm3d(_BatchNormOverRanks, nn.BatchNorm3d):
    pass


_OVER_RANKS: dict[type[nn.Module], type[_BatchNormOverRanks]] = {
    nn.BatchNorm1d: _BatchNorm1d,
    nn.BatchNorm2d: _BatchNorm2d,
    nn.BatchNorm3d: _BatchNorm3d,
}


def share_statistics(network: nn.Module) -> None:
    """Let every norm of a network that looks at the batch look at all ranks' batches, which are of one size.

    Modules change their class, not their parameters, buffers or names.
    """
    for module in network.modules():
        if isinstance(module, Centering):
            module.mean_over_ranks = exchange.mean
        elif type(module) in _OVER_RANKS:
            module.__class__ = _OVER_RANKS[type(module)]


class GradientMean:
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
            parts = (total / ranks.count()).split([gradient.numel() for gradient in gradients])
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
            self._started[number] = total, exchange.start_sum(total)

    def _gradients(self, number: int) -> list[Tensor]:
        return [p.grad for p in self._buckets[number] if p.grad is not None]

    def _expected(self) -> list[int]:
        return [len(bucket) * self._passes for bucket in self._buckets]


def whole(images: Tensor) -> Tensor:
    """The images (R*N, C, H, W) of all ranks, from each one's (N, C, H, W), in the order of their ranks."""
    return exchange.stacked(images).flatten(0, 1)


def all_numbers(own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each rank's numbers for a checkpoint: (R,) from (), by rank; of one process, copies of its own."""
    if ranks.count() == 1:
        return {name: value.clone() for name, value in own.items()}
    by_rank = exchange.gathered({name: value.cpu() for name, value in own.items()})
    return {name: torch.stack([numbers[name] for numbers in by_rank]) for name in own}


def own_numbers(kept: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """This rank's numbers, of those that `all_numbers` gave; where there were more or fewer ranks, their mean."""
    same = (ranks.count(),)
    return {name: value[ranks.rank()] if value.shape == same else value.mean() for name, value in kept.items()}


def require_same(**networks: nn.Module) -> None:
    """Let it pass if all ranks hold the same bytes in every weight and buffer.

    Raises:
        UserError: they do not; names the network and the rank.
    """
    digests = exchange.gathered({name: _digest(network) for name, network in networks.items()})
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
