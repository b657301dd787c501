"""Plan of a comparison: its trainings and their shared configuration."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from gan.config.base import Config, config_field, flag_name
from gan.config.choices import NORMS
from gan.config.norm_spec import folder_name_clashes, norm_folder_name
from gan.config.plugins import OwnCode, Records, require_allowed
from gan.config.train_config import TrainConfig
from gan.errors import UsageError
from gan.experiments.compare.arms import BUDGETS, Arm, norm_arm, problems

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

    arm: str
    """Name of its arm."""
    seed: int
    setting: str = ""
    """A name in LR_GRID, or empty without the grid."""

    @property
    def name(self) -> str:
        """Name of its folders."""
        return f"{self.setting}{'-' * bool(self.setting)}{norm_folder_name(self.arm)}-seed{self.seed}"

    @property
    def cell(self) -> str:
        """Its value of `--only`: ARM/SEED, with the grid SETTING/ARM/SEED."""
        return f"{self.setting}{'/' * bool(self.setting)}{self.arm}/{self.seed}"

    def __str__(self) -> str:
        return f"{f'setting {self.setting}, ' if self.setting else ''}{self.arm}, seed {self.seed}"


@dataclass(frozen=True)
class CompareConfig(Config):
    """Norms, seeds, budget, baseline and learning-rate grid of a comparison.

    Raises:
        UsageError: one message with a line for each problem, by flag, value and choices.
    """

    norms: tuple[str, ...] = config_field(
        ("sn", "msn"),
        "arms that differ in the norm alone, separated by commas",
        choices=NORMS,
        free=True,
    )
    seeds: int = config_field(3, "trainings of each arm, with seeds 0, 1, ...", low=1, free=True)
    baseline: str | None = config_field(
        None, "test each arm against this one (default: test all pairs of arms)", free=True
    )
    budget: str = config_field(
        "images",
        "what is equal for all arms: real images shown, or generator steps",
        choices=BUDGETS,
    )
    lr_grid: bool = config_field(
        False, "repeat the comparison under each of the learning rates and betas A to F of Miyato et al. 2018"
    )

    def _contradictions(self) -> list[str]:
        return folder_name_clashes(self.norms)


@dataclass(frozen=True)
class ComparePlan:
    """The trainings of a comparison and the configuration that they share."""

    compare: CompareConfig
    train: TrainConfig
    """Of every training, except for the settings of its arm, the seed and, with the grid, `RATES`."""
    own_arms: tuple[Arm, ...] = ()
    """The arms of --arm, in addition to those of --norms."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "train", self.train.replace(PER_TRAINING))
        lines = problems(self.arms, self.train)
        if not self.arms:
            lines.append("--norms: is empty; give at least one, or --arm NAME='FLAGS'")
        names = [arm.name for arm in self.arms]
        if self.compare.baseline not in (None, *names):
            lines.append(f"--baseline {self.compare.baseline}: is no arm; choose from {', '.join(names)}")
        for arm in self.own_arms if self.compare.lr_grid else ():
            if rates := [flag_name(key) for key in RATES if key in arm.settings]:
                lines.append(f"--arm {arm.name}: {', '.join(rates)} is set by --lr-grid; leave out one or the other")
        if lines:
            raise UsageError("\n".join(lines))

    @property
    def arms(self) -> tuple[Arm, ...]:
        """All arms: those of --norms first."""
        return (*map(norm_arm, self.compare.norms), *self.own_arms)

    def trainings(self) -> Iterator[ComparedTraining]:
        """Yield all trainings, all arms of a seed before the next seed, so that pairs are complete early."""
        for seed in range(self.compare.seeds):
            for setting in self.settings:
                for arm in self.arms:
                    yield ComparedTraining(arm.name, seed, setting)

    @property
    def settings(self) -> tuple[str, ...]:
        """Names in LR_GRID; one empty name without the grid."""
        return tuple(LR_GRID) if self.compare.lr_grid else ("",)

    def config_of(self, training: ComparedTraining) -> TrainConfig:
        """Return the configuration of one training."""
        rates = LR_GRID.get(training.setting, {})
        settings = next(arm.settings for arm in self.arms if arm.name == training.arm)
        return self.train.replace({**rates, **settings, "seed": training.seed})

    def merge(self, other: ComparePlan) -> ComparePlan:
        """Return this plan with the arms and seeds of another added; this plan's arms come first."""
        norms = tuple(dict.fromkeys((*self.compare.norms, *other.compare.norms)))
        seeds = max(self.compare.seeds, other.compare.seeds)
        names = [arm.name for arm in self.own_arms]
        own_arms = (*self.own_arms, *(arm for arm in other.own_arms if arm.name not in names))
        return ComparePlan(dataclasses.replace(self.compare, norms=norms, seeds=seeds), self.train, own_arms)

    def differences(self, other: ComparePlan) -> list[str]:
        """Return the differences that one comparison may not have, as lines `--flag: value -> other value`."""
        lines = self.compare.differences(other.compare) + training_differences(self.train, other.train)
        others = {arm.name: arm for arm in other.arms}
        for arm in self.arms:
            if arm.name in others and not lines:
                changes = training_differences(arm.config(self.train), others[arm.name].config(other.train))
                lines += [f"--arm {arm.name}: {change}" for change in changes]
        return lines

    def own_code(self) -> list[OwnCode]:
        """See `Config.own_code`."""
        shared = self.train.own_code()
        found = [*self.compare.own_code(), *shared]
        for arm in self.own_arms:
            own = [code for code in arm.config(self.train).own_code() if code not in shared]
            if references := [reference for code in own for reference in code.references]:
                found.append(OwnCode("--arm", arm.option(self.train, self.compare.budget), references))
        return found

    def plugin_records(self) -> Records:
        """See `Config.plugin_records`."""
        require_allowed(*self.own_code())
        records = self.compare.plugin_records()
        for config in (self.train, *(arm.config(self.train) for arm in self.own_arms)):
            records |= config.plugin_records()
        return records

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values, for JSON."""
        arms = {arm.name: dict(arm.settings) for arm in self.own_arms}
        return {**self.compare.to_dict(), "train": self.train.to_dict(), **({"arms": arms} if arms else {})}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ComparePlan:
        """Inverse of `to_dict`.

        Raises:
            KeyError, UsageError: the values are not those of a plan.
        """
        compare = {name: value for name, value in values.items() if name not in ("train", "arms")}
        train = TrainConfig.from_dict(values["train"]).replace(PER_TRAINING)
        arms = []
        for name, settings in values.get("arms", {}).items():
            config = train.replace(settings)
            arms.append(Arm(name, {key: getattr(config, key) for key in config.by_field_name(settings)}))
        return cls(CompareConfig.from_dict(compare), train, tuple(arms))


def training_differences(config: TrainConfig, other: TrainConfig) -> list[str]:
    """Return the differences that affect training or evaluation, as lines `--flag: value -> other value`.

    Stricter than `TrainConfig.differences`: a resumed run may be scored in another way or be trained for longer, the
    trainings of a comparison may not.
    """
    pairs = ((item.name, getattr(config, item.name), getattr(other, item.name)) for item in fields(TrainConfig))
    return [f"{flag_name(name)}: {a} -> {b}" for name, a, b in pairs if a != b and name not in _MAY_CHANGE]
