"""Plan of a comparison: its trainings and their shared configuration."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gan.config.base import Config, config_field, flag_name
from gan.config.choices import NORMS
from gan.config.norm_spec import folder_name_clashes, norm_folder_name
from gan.config.plugins import OwnCode, Records, require_allowed
from gan.config.train_config import TrainConfig
from gan.errors import UsageError
from gan.experiments.compare.arms import (
    BUDGETS,
    Arm,
    arm_flags,
    equal_image_steps,
    equal_time_steps,
    norm_arm,
    problems,
    training_differences,
)
from gan.experiments.compare.rate_settings import LR_GRID, N_DIS_CHOICES, RATES, random_setting, setting_names
from gan.experiments.plan import MOST_SEEDS

# Fields that differ between the trainings, and their placeholders in the shared configuration.
PER_TRAINING = {"norm": "none", "seed": 0}

_MORE_KEYS = ("arms", "chosen", "step_times")  # of a plan in config.json, besides the fields of CompareConfig


class ComparedTraining(NamedTuple):
    """One training of a comparison."""

    arm: str
    """Name of its arm."""
    seed: int
    setting: str = ""
    """A name in LR_GRID, or of a random setting of --tune; empty otherwise."""

    @property
    def name(self) -> str:
        """Name of its folders."""
        return f"{self.setting}{'-' * bool(self.setting)}{norm_folder_name(self.arm)}-seed{self.seed}"

    @property
    def cell(self) -> str:
        """Its value of `--only`: ARM/SEED, with a setting SETTING/ARM/SEED."""
        return f"{self.setting}{'/' * bool(self.setting)}{self.arm}/{self.seed}"

    def __str__(self) -> str:
        return f"{f'setting {self.setting}, ' if self.setting else ''}{self.arm}, seed {self.seed}"


@dataclass(frozen=True)
class CompareConfig(Config):
    """Norms, seeds, budget, baseline, learning-rate grid and tuning of a comparison.

    Raises:
        UsageError: one message with a line for each problem, by flag, value and choices.
    """

    norms: tuple[str, ...] = config_field(
        ("sn", "msn"),
        "arms that differ in the norm alone, separated by commas",
        choices=NORMS,
        free=True,
    )
    seeds: int = config_field(3, "trainings of each arm, with seeds 0, 1, ...", low=1, high=MOST_SEEDS, free=True)
    baseline: str | None = config_field(
        None, "test each arm against this one (default: test all pairs of arms)", free=True
    )
    budget: str = config_field(
        "images",
        "what is equal for all arms: real images shown, generator steps, or seconds of training by a measurement",
        choices=BUDGETS,
    )
    lr_grid: bool = config_field(
        False, "repeat the comparison under each of the learning rates and betas A to F of Miyato et al. 2018"
    )
    tune: int = config_field(
        0,
        "number of random settings of learning rates, betas and n_dis, the same for all arms; one training of each",
        low=0,
        high=MOST_SEEDS,
        free=True,
    )
    then: int = config_field(
        0,
        "after --tune, seeds with which each arm is trained under its best setting, and tested",
        low=0,
        high=MOST_SEEDS,
        free=True,
    )

    def _contradictions(self) -> list[str]:
        lines = folder_name_clashes(self.norms)
        if self.tune and self.lr_grid:
            lines.append("--tune, --lr-grid: both set learning rates, betas and n_dis; leave out one of them")
        if self.then and not self.tune:
            lines.append(f"--then {self.then}: has no settings to choose from; add --tune K")
        if self.budget == "seconds" and (self.tune or self.lr_grid):
            lines.append(
                f"--budget seconds, {'--tune' if self.tune else '--lr-grid'}: the time of a step depends on n_dis, in "
                "which the settings differ; leave out one of them"
            )
        return lines


@dataclass(frozen=True)
class ComparePlan:
    """The trainings of a comparison and the configuration that they share."""

    compare: CompareConfig
    train: TrainConfig
    """Of every training, except for the settings of its arm, the seed and, with the grid or tuning, `RATES`."""
    own_arms: tuple[Arm, ...] = ()
    """The arms of --arm, in addition to those of --norms."""
    chosen: Mapping[str, str | None] = field(default_factory=dict)
    """With --then, the random setting of each arm whose tuning is complete; None if all of its trainings diverged."""

    step_times: Mapping[str, float] = field(default_factory=dict)
    """With --budget seconds, the time of a step of each arm relative to that of the first one, once it is measured."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "train", self.train.replace(PER_TRAINING))
        lines = problems(self.arms, self.train)
        if not self.arms:
            lines.append("--norms: is empty; give at least one, or --arm NAME='FLAGS'")
        for arm in self.own_arms if self.compare.lr_grid else ():
            if rates := [flag_name(key) for key in RATES if key in arm.settings]:
                lines.append(f"--arm {arm.name}: {', '.join(rates)} is set by --lr-grid; leave out one or the other")
        if by := "--lr-grid" if self.compare.lr_grid else "--tune" if self.compare.tune else "":
            scheduled = {name for arm in self.arms for name in arm.config(self.train).schedules()}
            if ends := [flag_name(f"{name}_end") for name in RATES if name in scheduled]:
                lines.append(f"{by}, {', '.join(ends)}: both set learning rates and betas; leave out one or the other")
        if self.compare.tune and not lines:
            lines += self._tuning_problems()
        if lines:
            raise UsageError("\n".join(lines))

    @property
    def arms(self) -> tuple[Arm, ...]:
        """All arms: those of --norms first."""
        return (*map(norm_arm, self.compare.norms), *self.own_arms)

    def _tuning_problems(self) -> list[str]:
        """A line for each n_dis of the random settings with which no number of steps shows as many images."""
        lines: dict[str, str] = {}
        for arm in self.arms if self.compare.budget == "images" else ():
            for n_dis in N_DIS_CHOICES:
                try:
                    equal_image_steps(arm.config(self.train).replace({"n_dis": n_dis}), self.train)
                except UsageError as error:
                    lines.setdefault(str(error), f"--tune: {arm.name} with --n-dis {n_dis}: {error}")
        return list(lines.values())

    def trainings(self) -> Iterator[ComparedTraining]:
        """Yield all trainings, all arms of a seed before the next seed, so that pairs are complete early.

        With --then, only those of arms whose setting is chosen.
        """
        if not self.compare.tune:
            for seed in range(self.compare.seeds):
                for setting in self.settings:
                    for arm in self.arms:
                        yield ComparedTraining(arm.name, seed, setting)
            return
        for setting in self.random_settings:
            for arm in self.arms:
                yield ComparedTraining(arm.name, 0, setting)
        for seed in range(1, self.compare.then + 1):
            for arm in self.arms:
                if self.chosen.get(arm.name):
                    yield ComparedTraining(arm.name, seed)

    @property
    def waiting(self) -> int:
        """Number of the trainings of --then whose setting is not chosen yet."""
        return self.compare.then * sum(arm.name not in self.chosen for arm in self.arms)

    @property
    def planned(self) -> int:
        """Number of all trainings, also of those whose setting is not chosen yet."""
        return len(list(self.trainings())) + self.waiting

    @property
    def settings(self) -> tuple[str, ...]:
        """Settings under each of which arms are tested: names in LR_GRID, or one empty name."""
        return tuple(LR_GRID) if self.compare.lr_grid else ("",)

    @property
    def random_settings(self) -> tuple[str, ...]:
        """Names of the settings of --tune."""
        return setting_names(self.compare.tune)

    def config_of(self, training: ComparedTraining) -> TrainConfig:
        """Return the configuration of one training."""
        arm = next(arm for arm in self.arms if arm.name == training.arm)
        return self.arm_config(arm, training.setting).replace({"seed": training.seed})

    def arm_config(self, arm: Arm, setting: str = "") -> TrainConfig:
        """Return the configuration of an arm under a setting, but for the seed.

        Args:
            setting: name of the setting; empty: the arm's own, which is the chosen one after --tune.
        """
        if arm.name in self.step_times:
            return self.train.replace({**arm.settings, **equal_time_steps(self.train, self.step_times[arm.name])})
        if not self.compare.tune:
            return self.train.replace({**LR_GRID.get(setting, {}), **arm.settings})
        name = setting or self.chosen.get(arm.name)
        config = arm.config(self.train)
        if name is None:
            return config
        config = config.replace(random_setting(name))
        return config.replace(equal_image_steps(config, self.train)) if self.compare.budget == "images" else config

    @property
    def reference_arm(self) -> str:
        """With --budget seconds, the arm of which the times of a step are multiples."""
        return next((name for name, ratio in self.step_times.items() if ratio == 1.0), self.arms[0].name)

    def merge(self, other: ComparePlan) -> ComparePlan:
        """Return this plan with the arms and seeds of another added; this plan's arms come first."""
        norms = tuple(dict.fromkeys((*self.compare.norms, *other.compare.norms)))
        counts = ("seeds", "tune", "then")
        larger = {key: max(getattr(self.compare, key), getattr(other.compare, key)) for key in counts}
        names = [arm.name for arm in self.own_arms]
        own_arms = (*self.own_arms, *(arm for arm in other.own_arms if arm.name not in names))
        compare = dataclasses.replace(self.compare, norms=norms, **larger)
        chosen, step_times = {**self.chosen, **other.chosen}, {**self.step_times, **other.step_times}
        return ComparePlan(compare, self.train, own_arms, chosen, step_times)

    def differences(self, other: ComparePlan) -> list[str]:
        """Return the differences that one comparison may not have, as lines `--flag: value -> other value`."""
        lines = self.compare.differences(other.compare) + training_differences(self.train, other.train)
        tunes = (self.compare.tune, other.compare.tune)
        if min(tunes) == 0 < max(tunes):
            lines.append(f"--tune: {tunes[0]} -> {tunes[1]}")
        elif self.chosen and tunes[0] < tunes[1]:
            lines.append(f"--tune: {tunes[0]} -> {tunes[1]} (--then has chosen among {tunes[0]})")
        others = {arm.name: arm for arm in other.arms}
        for arm in self.arms:
            if arm.name in others and not lines:
                changes = training_differences(arm.config(self.train), others[arm.name].config(other.train))
                lines += [f"--arm {arm.name}: {change}" for change in changes]
        return lines

    def own_code(self) -> list[OwnCode]:
        """See `Config.own_code`; all arms together if any has own code, as flags of some request these alone."""
        shared = self.train.own_code()
        own = [code for arm in self.arms for code in arm.config(self.train).own_code() if code not in shared]
        if references := [reference for code in own for reference in code.references]:
            words = arm_flags(self.compare.norms, self.own_arms, self.train, self.compare.budget)
            return [*(OwnCode(*pair, references) for pair in zip(words[::2], words[1::2], strict=True)), *shared]
        return shared

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
        more = {"arms": arms, "chosen": dict(self.chosen), "step_times": dict(self.step_times)}
        filled = {key: value for key, value in more.items() if value}
        return {**self.compare.to_dict(), "train": self.train.to_dict(), **filled}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ComparePlan:
        """Inverse of `to_dict`.

        Raises:
            KeyError, UsageError: the values are not those of a plan.
        """
        compare = {name: value for name, value in values.items() if name not in ("train", *_MORE_KEYS)}
        train = TrainConfig.from_dict(values["train"]).replace(PER_TRAINING)
        arms = []
        for name, settings in values.get("arms", {}).items():
            config = train.replace(settings)
            arms.append(Arm(name, {key: getattr(config, key) for key in config.by_field_name(settings)}))
        chosen, step_times = (dict(values.get(key, {})) for key in ("chosen", "step_times"))
        plan = cls(CompareConfig.from_dict(compare), train, tuple(arms), chosen, step_times)
        settings = (None, *plan.random_settings)
        wrong = [f"chosen.{arm}" for arm, setting in chosen.items() if setting not in settings]
        wrong += [f"step_times.{arm}" for arm, time in step_times.items() if not isinstance(time, float) or time <= 0]
        if wrong:
            raise UsageError(f"{', '.join(wrong)}: not of this comparison")
        return plan
