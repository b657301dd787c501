"""Means of what training steps note, kept on the device until a line of the log is due."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gan.distributed import collectives, data_parallel


class MetricMeans:
    """Sums of losses and the like over the steps since the last line of the log.

    To read a number is to wait for the device, so steps only add to tensors there, in place: a captured step does too.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._sums: dict[str, Tensor] = {}
        self.steps = 0
        """Steps since the last line."""

    def add(self, share: float, **values: Tensor) -> None:
        """Add to the sums.

        Args:
            share: of this value in the mean of a step.
        """
        for name, value in values.items():
            if name not in self._sums:
                self._sums[name] = torch.zeros((), device=self._device)
            self._sums[name].add_(value.detach(), alpha=share)

    def means(self) -> dict[str, float]:
        """Over the steps and over all ranks; waits for the device. Empty where there was no step."""
        if not self.steps:
            return {}
        means = collectives.all_reduce_mean(torch.stack(list(self._sums.values())) / self.steps)
        return dict(zip(self._sums, means.tolist(), strict=True))

    def clear(self) -> None:
        """Begin a new line."""
        for value in self._sums.values():
            value.zero_()
        self.steps = 0

    def state(self) -> dict[str, Any]:
        """For a checkpoint: the sums of all ranks."""
        return {"steps": self.steps, "sums": data_parallel.gather_scalars(self._sums)}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint.

        Raises:
            KeyError, TypeError, ValueError, RuntimeError: it is of another kind.
        """
        sums = data_parallel.own_scalars(state["sums"])
        self._sums = {name: value.to(self._device) for name, value in sums.items()}
        self.steps = state["steps"]
