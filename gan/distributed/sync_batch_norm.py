"""Batch statistics over all ranks, for batch norm and centering. torch's SyncBatchNorm runs on CUDA only."""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gan.distributed import collectives, process_group
from gan.norm import Centering
from gan.norm.layer_types import BATCH_NORMS


class _BatchNormOverRanks(_BatchNorm):
    """Batch norm (Ioffe & Szegedy 2015, algorithm 1) with mean and variance over the batches of all ranks.

    The variance is combined from those of the ranks (Chan, Golub and LeVeque 1979), which avoids cancellation if the
    mean is large. It is twice differentiable, as gradient penalties require.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        self._check_input_dim(x)
        assert self.running_mean is not None
        wide = x.to(self.running_mean.dtype)  # statistics are not computed in bf16
        dims = [d for d in range(x.dim()) if d != 1]
        own = torch.stack(torch.var_mean(wide, dims, correction=0))  # (2, C)
        variances, means = collectives.all_gather_tensor(own).unbind(1)  # (R, 2, C) -> (R, C) each
        mean = means.mean(0)
        variance = variances.mean(0) + (means - mean).square().mean(0)
        self._update_running_statistics(mean, variance, process_group.world_size() * x.numel() // x.shape[1])
        scale = (variance + self.eps).rsqrt()
        scale = scale if self.weight is None else scale * self.weight
        shift = -mean * scale if self.bias is None else self.bias - mean * scale
        shape = (-1,) + (1,) * (x.dim() - 2)  # (C,) -> (C, 1, ...), against (N, C, ...)
        return torch.addcmul(shift.view(shape), wide, scale.view(shape)).to(x.dtype)

    @torch.no_grad()
    def _update_running_statistics(self, mean: Tensor, variance: Tensor, count: int) -> None:
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        momentum = 1 / self.num_batches_tracked.item() if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance * (count / (count - 1)), momentum)


_OVER_RANKS: dict[type[nn.Module], type[nn.Module]] = {
    norm: type(f"{norm.__name__}OverRanks", (_BatchNormOverRanks, norm), {}) for norm in BATCH_NORMS
}


def synchronize_batch_statistics(network: nn.Module) -> None:
    """Make every module of a network that uses batch statistics use those of all ranks' batches, which have one size.

    Batch norm modules get another class; their parameters, buffers and names stay.
    """
    for module in network.modules():
        if isinstance(module, Centering):
            module.mean_over_ranks = collectives.all_reduce_mean
        elif type(module) in _OVER_RANKS:
            module.__class__ = _OVER_RANKS[type(module)]
