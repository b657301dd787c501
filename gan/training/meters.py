"""Per-step metric means, accumulated on the device and read only when a log line is written."""

from typing import Any

import torch
from torch import Tensor

from gan.distributed import collectives, data_parallel


class MetricMeans:
    """Weighted sums of losses and other metrics over the steps since the last log line.

    Reading a number would wait for the device, so steps only add to tensors there, in place, as a CUDA graph requires.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._sums: dict[str, Tensor] = {}
        self.steps = 0
        """Number of steps since the last log line."""

    def add(self, weight: float, **values: Tensor) -> None:
        """Add scalars to the sums; the weights of a metric's values in one step sum to 1."""
        for name, value in values.items():
            if name not in self._sums:
                self._sums[name] = torch.zeros((), device=self._device)
            self._sums[name].add_(value.detach(), alpha=weight)

    def means(self) -> dict[str, float]:
        """Means over the steps and all ranks; empty after no step. Waits for the device."""
        if not self.steps:
            return {}
        means = collectives.all_reduce_mean(torch.stack(list(self._sums.values())) / self.steps)
        return dict(zip(self._sums, means.tolist(), strict=True))

    def clear(self) -> None:
        """Reset all sums for the next log line."""
        for value in self._sums.values():
            value.zero_()
        self.steps = 0

    def state(self) -> dict[str, Any]:
        """The sums of all ranks, for a checkpoint."""
        return {"steps": self.steps, "sums": data_parallel.gather_scalars(self._sums)}

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from the sums of a checkpoint.

        Raises:
            KeyError, TypeError, ValueError, RuntimeError: the state has another form.
        """
        sums = data_parallel.own_scalars(state["sums"])
        self._sums = {name: value.to(self._device) for name, value in sums.items()}
        self.steps = state["steps"]
