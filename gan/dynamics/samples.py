"""The samples in dynamics.jsonl of several runs, and the numbers read from them"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from gan.dynamics.callback import DYNAMICS_LOG
from gan.runs import log

STOPPED = 0.99  # share of gradient entries that are exactly zero; from here on a layer learns nothing


Sample = Mapping[str, Any]


class Quantity(NamedTuple):
    """A number of each layer in a sample."""

    part: str
    """`layers` or `activations`."""
    key: str


SMALL_SHARE = Quantity("layers", "gradient_small")


ZERO_SHARE = Quantity("layers", "gradient_zeros")


GRADIENT_NORM = Quantity("layers", "gradient_norm")


GRADIENT_VARIANCE = Quantity("layers", "gradient_variance")


GRADIENT_SIGMA = Quantity("layers", "gradient_sigma")


MEAN_DRIFT = Quantity("activations", "drift")


@dataclass(frozen=True)
class SampledRun:
    """The samples of one training, in order."""

    norm: str
    entries: tuple[Sample, ...]

    def values(self, quantity: Quantity) -> dict[int, float]:
        """The median over layers, by step; without samples in which no layer has the number."""
        found = {}
        for entry in self.entries:
            own = [layer.get(quantity.key) for layer in entry[quantity.part].values()]
            if present := [value for value in own if value is not None]:
                found[entry["step"]] = median(present)
        return found

    def late(self, quantity: Quantity) -> float | None:
        """The median over the samples of the last third of training; None where there is none."""
        steps = self.late_steps
        found = [value for step, value in self.values(quantity).items() if step in steps]
        return median(found) if found else None

    @property
    def late_steps(self) -> set[int]:
        """Steps of the samples of the last third of training."""
        steps = {entry["step"] for entry in self.entries}
        return {step for step in steps if step > 0 and 3 * step >= 2 * max(steps)}

    @property
    def stopped(self) -> bool:
        """Whether it has stopped learning: in the last third of training a layer's gradient is zero, as a rule."""
        zeros = self.late(ZERO_SHARE)
        return (zeros is not None and zeros >= STOPPED) or 0 in (self.late(GRADIENT_NORM), self.late(GRADIENT_VARIANCE))

    @property
    def sizes(self) -> dict[str, int]:
        """How many singular values each layer's weight has; empty where they were not sampled."""
        spectra: dict[str, list[Any]] = next((entry["spectra"] for entry in self.entries if "spectra" in entry), {})
        return {name: len(values) for name, values in spectra.items()}

    @property
    def pooled(self) -> set[str]:
        """Layers whose pre-activations were seen after a 2×2 mean."""
        return set(self.entries[-1].get("pooled", ()))


def read_runs(folders: Iterable[Path]) -> list[SampledRun]:
    """The runs of those folders that have a `dynamics.jsonl` with samples."""
    runs = []
    for folder in folders:
        entries = [
            entry for entry in log.read_log(folder / DYNAMICS_LOG) if {"norm", "layers", "activations"} <= entry.keys()
        ]
        if entries:
            runs.append(SampledRun(entries[-1]["norm"], tuple(entries)))
    return runs


def comparable(runs: Sequence[SampledRun]) -> list[SampledRun]:
    """The runs without the pre-activations that some have after a 2×2 mean and others before it.

    The mean makes deviations smaller, and with them drifts, which are told in deviations, larger.
    """
    every = {name for run in runs for name in run.pooled}
    unlike = {name for name in every if not all(name in run.pooled for run in runs)}
    if not unlike:
        return list(runs)

    def without(entry: Sample) -> Sample:
        kept = {name: layer for name, layer in entry["activations"].items() if name not in unlike}
        return {**entry, "activations": kept}

    return [replace(run, entries=tuple(without(entry) for entry in run.entries)) for run in runs]
