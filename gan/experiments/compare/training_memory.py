"""Peak memory of a training whose snapshots are evaluated in the same process."""

from typing import Any

import torch
from torch import nn

from gan.training import loop
from gan.utils.peak_memory import peak_memory_bytes, reset_peak_memory


class TrainingMemory:
    """Evaluate snapshots, and measure the peak memory between them: that of training, without evaluation.

    Without a GPU it is the memory of the whole process, with the images and the extractor.
    """

    def __init__(self, device: torch.device, evaluator: loop.Snapshot) -> None:
        self._device = device
        self._evaluator = evaluator
        self._highest = 0
        self._measurable = reset_peak_memory(device)

    def __call__(self, step: int, network: nn.Module) -> dict[str, Any] | None:
        self._update()
        entry = self._evaluator(step, network)
        reset_peak_memory(self._device)
        return entry

    def peak(self) -> int | None:
        """Return the peak in bytes, or None where the system cannot reset its counter."""
        self._update()
        return self._highest if self._measurable else None

    def _update(self) -> None:
        self._highest = max(self._highest, peak_memory_bytes(self._device))
