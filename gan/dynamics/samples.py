"""The samples of several runs, read from dynamics.jsonl."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from gan.dynamics.callback import DYNAMICS_LOG
from gan.runs import log

STOPPED = 0.99  # share of zero gradient entries from which a layer counts as no longer learning

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
WEIGHT_MEAN = Quantity("layers", "weight_mean")
USED_SIGMA = Quantity("layers", "used_sigma")
OPERATOR_NORM = Quantity("layers", "operator_norm")
STABLE_RANK = Quantity("layers", "stable_rank")
MEAN_DRIFT = Quantity("activations", "drift")
OFFSET = Quantity("activations", "offset")


@dataclass(frozen=True)
class SampledRun:
    """The samples of one training, in order."""

    norm: str
    entries: tuple[Sample, ...]
    arm: str = ""
    """Name of its arm of a comparison; empty: named after the norm."""

    @property
    def name(self) -> str:
        """Name of its arm, or of its norm."""
        return self.arm or self.norm

    @property
    def label(self) -> str:
        """Its norm, and its arm where that has another name."""
        return self.norm if self.name == self.norm else f"{self.norm} (arm {self.arm})"

    def values(self, quantity: Quantity) -> dict[int, float]:
        """Return the median over layers by step, for samples in which a layer has the number."""
        medians = {}
        for entry in self.entries:
            values = [layer.get(quantity.key) for layer in entry[quantity.part].values()]
            if finite := [value for value in values if value is not None]:
                medians[entry["step"]] = median(finite)
        return medians

    def layer_values(self, quantity: Quantity, name: str) -> dict[int, float]:
        """Return the number of one layer by step, for samples that have it."""
        values = {entry["step"]: entry[quantity.part].get(name, {}).get(quantity.key) for entry in self.entries}
        return {step: value for step, value in values.items() if value is not None}

    def late(self, quantity: Quantity) -> float | None:
        """Return the median over the samples of the last third of training; None if there is none."""
        steps = self.late_steps
        values = [value for step, value in self.values(quantity).items() if step in steps]
        return median(values) if values else None

    @property
    def last_step(self) -> int:
        """Step of the last sample."""
        return max(entry["step"] for entry in self.entries)

    @property
    def late_steps(self) -> set[int]:
        """Steps of the samples of the last third of training."""
        steps = {entry["step"] for entry in self.entries}
        return {step for step in steps if step > 0 and 3 * step >= 2 * self.last_step}

    @property
    def stopped(self) -> bool:
        """True if the network no longer learns: in the last third of training the gradient of most layers is zero."""
        zeros = self.late(ZERO_SHARE)
        return (zeros is not None and zeros >= STOPPED) or 0 in (self.late(GRADIENT_NORM), self.late(GRADIENT_VARIANCE))

    @property
    def sizes(self) -> dict[str, int]:
        """Number of singular values of each layer's weight; empty if they were not sampled."""
        spectra: dict[str, list[Any]] = next((entry["spectra"] for entry in self.entries if "spectra" in entry), {})
        return {name: len(values) for name, values in spectra.items()}

    @property
    def pooled(self) -> set[str]:
        """Layers whose pre-activations were recorded after a 2×2 mean."""
        return set(self.entries[-1].get("pooled", ()))


def read_runs(folders: Iterable[Path], arms: Mapping[Path, str] | None = None) -> list[SampledRun]:
    """Read the runs of those folders whose `dynamics.jsonl` has samples.

    Args:
        arms: name of the arm of a comparison to which a folder belongs.
    """
    runs = []
    for folder in folders:
        entries = [
            entry for entry in log.read_log(folder / DYNAMICS_LOG) if {"norm", "layers", "activations"} <= entry.keys()
        ]
        if entries:
            runs.append(SampledRun(entries[-1]["norm"], tuple(entries), (arms or {}).get(folder, "")))
    return runs


def runs_by_arm(runs: Iterable[SampledRun]) -> dict[str, list[SampledRun]]:
    """Group runs by the name of their arm or norm, in the order of first appearance."""
    groups: dict[str, list[SampledRun]] = {}
    for run in runs:
        groups.setdefault(run.name, []).append(run)
    return groups


def runs_under(runs: Sequence[SampledRun], norm: str) -> list[SampledRun]:
    """Return the runs under a norm: of the arm that is named after it, or else of the first arm that has it."""
    arms = runs_by_arm(run for run in runs if run.norm == norm)
    return arms[norm] if norm in arms else next(iter(arms.values()), [])


def comparable(runs: Sequence[SampledRun]) -> list[SampledRun]:
    """Remove pre-activations that some runs recorded after a 2×2 mean and others before it.

    The mean reduces standard deviations, which are the unit of drift, and so increases drift.
    """
    pooled = {name for run in runs for name in run.pooled}
    mixed = {name for name in pooled if not all(name in run.pooled for run in runs)}
    if not mixed:
        return list(runs)

    def without_mixed(entry: Sample) -> Sample:
        activations = {name: layer for name, layer in entry["activations"].items() if name not in mixed}
        return {**entry, "activations": activations}

    return [replace(run, entries=tuple(map(without_mixed, run.entries))) for run in runs]
