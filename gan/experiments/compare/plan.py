"""What a comparison is made of: which trainings, and what they all have in common."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from gan.config.base import Config, config_field, flag_name
from gan.config.train_config import TrainConfig
from gan.norm import NORMS

# Learning rates, betas and updates of D that Miyato et al. 2018 (arXiv 1802.05957, table 1) try their norms with.
RATES = ("g_lr", "d_lr", "beta1", "beta2", "n_dis")
LR_GRID: dict[str, dict[str, Any]] = {
    name: dict(zip(RATES, (rate, rate, *others), strict=True))
    for name, rate, *others in (
        ("A", 1e-4, 0.5, 0.9, 5),
        ("B", 1e-4, 0.5, 0.999, 1),
        ("C", 2e-4, 0.5, 0.999, 1),
        ("D", 1e-3, 0.5, 0.9, 5),
        ("E", 1e-3, 0.5, 0.999, 5),
        ("F", 1e-3, 0.9, 0.999, 5),
    )
}

PER_TRAINING = {
    "norm": "none",
    "seed": 0,
}  # settings that each training has of its own; what stands for them in the plan
# What neither changes a training nor how it is judged.
_MAY_CHANGE = {"preset", "data", "data_root", "skip_bad_images", "sample_every", "checkpoint_every", "keep"}


class ComparedTraining(NamedTuple):
    """One of the trainings of a comparison."""

    norm: str
    seed: int
    setting: str = ""
    """A name in LR_GRID, or nothing where there is one setting only."""

    @property
    def name(self) -> str:
        """What its folders are called."""
        return f"{self.setting}{'-' * bool(self.setting)}{self.norm}-seed{self.seed}"

    def __str__(self) -> str:
        return f"{f'setting {self.setting}, ' if self.setting else ''}{self.norm}, seed {self.seed}"


@dataclass(frozen=True)
class CompareConfig(Config):
    """Which trainings a comparison is made of.

    Raises:
        UsageError: one message with a line for each problem, by flag, value and choices.
    """

    norms: tuple[str, ...] = config_field(
        ("sn", "msn"),
        "normalizations, with commas between them; the paired test is of the first two",
        choices=tuple(NORMS),
        free=True,
    )
    seeds: int = config_field(3, "how many times each is trained: with seeds 0, 1, ...", low=1, free=True)
    lr_grid: bool = config_field(False, "under the learning rates and betas A to F of Miyato et al. 2018, each in turn")

    def _contradictions(self) -> list[str]:
        return [] if self.norms else ["--norms: is empty; give at least one"]


@dataclass(frozen=True)
class ComparePlan:
    """A comparison: which trainings, and the settings that they have in common."""

    which: CompareConfig
    train: TrainConfig
    """Of every training, but for `OWN` and, with the grid, the rates."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "train", self.train.replace(PER_TRAINING))

    def trainings(self) -> Iterator[ComparedTraining]:
        """All trainings, all norms of a seed before the next seed, so that a stopped comparison has whole pairs."""
        for seed in range(self.which.seeds):
            for name in self.settings:
                for norm in self.which.norms:
                    yield ComparedTraining(norm, seed, name)

    @property
    def settings(self) -> tuple[str, ...]:
        """Names in LR_GRID, or the one nameless setting."""
        return tuple(LR_GRID) if self.which.lr_grid else ("",)

    def config_of(self, training: ComparedTraining) -> TrainConfig:
        """The settings of one training."""
        own = {"norm": training.norm, "seed": training.seed}
        return self.train.replace({**LR_GRID.get(training.setting, {}), **own})

    def united(self, other: ComparePlan) -> ComparePlan:
        """This plan with the norms and seeds of another too; this one's norms come first."""
        norms = tuple(dict.fromkeys((*self.which.norms, *other.which.norms)))
        seeds = max(self.which.seeds, other.which.seeds)
        return ComparePlan(dataclasses.replace(self.which, norms=norms, seeds=seeds), self.train)

    def differences(self, other: ComparePlan) -> list[str]:
        """What may not change in one comparison and differs, as lines `--flag: mine -> other`."""
        return self.which.differences(other.which) + unlike_settings(self.train, other.train)

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return {**self.which.to_dict(), "train": self.train.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ComparePlan:
        """The inverse of `to_dict`.

        Raises:
            KeyError, UsageError: it is none.
        """
        which = {name: value for name, value in values.items() if name != "train"}
        return cls(CompareConfig.from_dict(which), TrainConfig.from_dict(values["train"]))


def unlike_settings(mine: TrainConfig, other: TrainConfig) -> list[str]:
    """Settings that would make trainings unlike, or unlike in how they are judged, as lines `--flag: mine -> other`.

    More than `TrainConfig.differences`: a resumed run may be scored in another way or go on for longer, one of several
    that are compared may not.
    """
    pairs = ((item.name, getattr(mine, item.name), getattr(other, item.name)) for item in fields(TrainConfig))
    return [f"{flag_name(name)}: {a} -> {b}" for name, a, b in pairs if a != b and name not in _MAY_CHANGE]
