"""Plan of a comparison: its trainings and their shared configuration."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from gan.config.base import Config, config_field, flag_name
from gan.config.choices import NORMS
from gan.config.norm_spec import folder_name_clashes, norm_folder_name
from gan.config.train_config import TrainConfig

# The learning rates, betas and updates of D with which Miyato et al. 2018 compare norms (arXiv 1802.05957, table 1).
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

# Fields that differ between the trainings, and their placeholders in the shared configuration.
PER_TRAINING = {"norm": "none", "seed": 0}
# Fields that affect neither training nor evaluation.
_MAY_CHANGE = {"preset", "data", "data_root", "skip_bad_images", "sample_every", "checkpoint_every", "keep"}


class ComparedTraining(NamedTuple):
    """One training of a comparison."""

    norm: str
    seed: int
    setting: str = ""
    """A name in LR_GRID, or empty without the grid."""

    @property
    def name(self) -> str:
        """Name of its folders."""
        return f"{self.setting}{'-' * bool(self.setting)}{norm_folder_name(self.norm)}-seed{self.seed}"

    def __str__(self) -> str:
        return f"{f'setting {self.setting}, ' if self.setting else ''}{self.norm}, seed {self.seed}"


@dataclass(frozen=True)
class CompareConfig(Config):
    """Norms, seeds and learning-rate grid of a comparison.

    Raises:
        UsageError: one message with a line for each problem, by flag, value and choices.
    """

    norms: tuple[str, ...] = config_field(
        ("sn", "msn"),
        "normalizations, separated by commas; all pairs are tested",
        choices=NORMS,
        free=True,
    )
    seeds: int = config_field(3, "trainings of each norm, with seeds 0, 1, ...", low=1, free=True)
    lr_grid: bool = config_field(
        False, "repeat the comparison under each of the learning rates and betas A to F of Miyato et al. 2018"
    )

    def _contradictions(self) -> list[str]:
        return folder_name_clashes(self.norms) if self.norms else ["--norms: is empty; give at least one"]


@dataclass(frozen=True)
class ComparePlan:
    """The trainings of a comparison and the configuration that they share."""

    compare: CompareConfig
    train: TrainConfig
    """Of every training, except for the fields in `PER_TRAINING` and, with the grid, in `RATES`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "train", self.train.replace(PER_TRAINING))

    def trainings(self) -> Iterator[ComparedTraining]:
        """Yield all trainings, all norms of a seed before the next seed, so that pairs are complete early."""
        for seed in range(self.compare.seeds):
            for setting in self.settings:
                for norm in self.compare.norms:
                    yield ComparedTraining(norm, seed, setting)

    @property
    def settings(self) -> tuple[str, ...]:
        """Names in LR_GRID; one empty name without the grid."""
        return tuple(LR_GRID) if self.compare.lr_grid else ("",)

    def config_of(self, training: ComparedTraining) -> TrainConfig:
        """Return the configuration of one training."""
        rates = LR_GRID.get(training.setting, {})
        return self.train.replace({**rates, "norm": training.norm, "seed": training.seed})

    def merge(self, other: ComparePlan) -> ComparePlan:
        """Return this plan with the norms and seeds of another added; this plan's norms come first."""
        norms = tuple(dict.fromkeys((*self.compare.norms, *other.compare.norms)))
        seeds = max(self.compare.seeds, other.compare.seeds)
        return ComparePlan(dataclasses.replace(self.compare, norms=norms, seeds=seeds), self.train)

    def differences(self, other: ComparePlan) -> list[str]:
        """Return the differences that one comparison may not have, as lines `--flag: value -> other value`."""
        return self.compare.differences(other.compare) + training_differences(self.train, other.train)

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values, for JSON."""
        return {**self.compare.to_dict(), "train": self.train.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ComparePlan:
        """Inverse of `to_dict`.

        Raises:
            KeyError, UsageError: the values are not those of a plan.
        """
        compare = {name: value for name, value in values.items() if name != "train"}
        return cls(CompareConfig.from_dict(compare), TrainConfig.from_dict(values["train"]))


def training_differences(config: TrainConfig, other: TrainConfig) -> list[str]:
    """Return the differences that affect training or evaluation, as lines `--flag: value -> other value`.

    Stricter than `TrainConfig.differences`: a resumed run may be scored in another way or be trained for longer, the
    trainings of a comparison may not.
    """
    pairs = ((item.name, getattr(config, item.name), getattr(other, item.name)) for item in fields(TrainConfig))
    return [f"{flag_name(name)}: {a} -> {b}" for name, a, b in pairs if a != b and name not in _MAY_CHANGE]
