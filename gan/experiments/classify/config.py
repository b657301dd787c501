"""Configuration of a classifier experiment: its trainings and their shared settings."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from gan.config.base import Config, config_field, dynamics_field, flag_name
from gan.config.choices import CLASSIFIERS, NETWORKS, NORMS, PRECISIONS
from gan.config.norm_spec import folder_name_clashes, norm_folder_name, parse_norm
from gan.config.plugins import flag_words
from gan.experiments.plan import MOST_SEEDS

CLASSIFY_AUGMENTATIONS = ("auto", "none", "crop", "crop-flip")
_GREY = ("digits", "mnist", "fashion-mnist")
_DEEP = ("resnet18", "resnet20", "densenet-bc")  # whose running means lag behind their weights: docs/results/paper.md
_PRECISE_STATS = 50
_NOT_MIRRORED = ("svhn",)  # a mirrored digit is no digit


class ClassifyTraining(NamedTuple):
    """One training of an experiment."""

    norm: str
    lr: float
    seed: int

    @property
    def name(self) -> str:
        """Name of its folder."""
        return f"{norm_folder_name(self.norm)}-lr{self.lr!r}-seed{self.seed}"

    @property
    def cell(self) -> str:
        """Its value of `--only`: NORM/LR/SEED."""
        return f"{self.norm}/{self.lr!r}/{self.seed}"

    def __str__(self) -> str:
        return f"{self.norm}, lr {self.lr!r}, seed {self.seed}"


def classify_command(name: str, config: ClassifyConfig) -> str:
    """Return the command that repeats or resumes an experiment with a resolved configuration."""
    return shlex.join(["msn-gan", "classify", name, *config.flags(ClassifyConfig())])


def resume_flags(requested: ClassifyConfig, plan: ClassifyConfig) -> list[str]:
    """Return the flags that request the same trainings of an experiment again, and name the user's own code.

    Args:
        plan: of the experiment, with all norms and learning rates.
    """
    named = {code.flag: code for code in requested.own_code()}
    fewer = [name for name in ("norms", "lr") if set(getattr(requested, name)) != set(getattr(plan, name))]
    others = requested.flags_of(name for name in fewer if flag_name(name) not in named)
    return [*flag_words(named.values()), *others]


def real_command(name: str, config: ClassifyConfig) -> str:
    """Return the command of an experiment like one with generated images, on the real training images."""
    return classify_command(f"{name}-real", dataclasses.replace(config, generated=None, num=None, network=None))


@dataclass(frozen=True)
class ClassifyConfig(Config):
    """Everything that determines the trainings of an experiment, except the machine.

    Raises:
        UsageError: one message with a line for each problem, by flag, value and choices.
    """

    model: str = config_field("vgg7", "the classifier", choices=CLASSIFIERS)
    norms: tuple[str, ...] = config_field(
        ("none", "bn", "mean", "sn", "msn"), "normalizations, separated by commas", choices=NORMS, free=True
    )
    lr: tuple[float, ...] = config_field((0.001,), "learning rates, separated by commas", free=True)
    seeds: int = config_field(
        1, "trainings of each norm and learning rate, with seeds 0, 1, ...", low=1, high=MOST_SEEDS, free=True
    )

    data: str = config_field("digits", "a dataset's name, or the path of a folder or zip of images", free=True)
    test_data: str | None = config_field(
        None, "test images (default: the test split of --data; a fifth of the digits)", free=True
    )
    data_root: str = config_field("data", "folder to which named datasets are downloaded", free=True)
    resolution: int = config_field(32, "side of the square images, in pixels; others are resized", low=8)
    channels: int | None = config_field(
        None, "colour channels (default: 1 for digits, mnist and fashion-mnist, else 3)", choices=(1, 3)
    )
    limit: int | None = config_field(None, "number of training images, balanced over the classes (default: all)", low=2)
    skip_bad_images: bool = config_field(False, "skip images that cannot be read", free=True)

    generated: str | None = config_field(
        None,
        "train on images of this class-conditional checkpoint (or the newest of this run), test on real ones: the "
        "classification accuracy score",
        free=True,
    )
    num: int | None = config_field(
        None, "number of generated training images (default: as many as real ones, after --limit)", low=2
    )
    network: str | None = config_field(
        None, "the network of the generator, if it is your own", choices=NETWORKS, free=True
    )

    epochs: int = config_field(30, "passes over the training images", low=1)
    batch: int = config_field(128, "images per step", low=1)
    optimizer: str = config_field("adam", "Adam, or SGD with momentum 0.9", choices=("adam", "sgd"))
    weight_decay: float = config_field(0.0, "L2 penalty of the optimizer (5e-4 is usual with sgd)", low=0)
    decay: str = config_field(
        "auto",
        "learning-rate schedule: constant (auto for adam), or cosine decay to 0 (auto for sgd)",
        choices=("auto", "none", "cosine"),
    )
    augment: str = config_field(
        "auto",
        "shift training images by up to 4 pixels, and mirror half (auto: both for colour images, svhn only shifted)",
        choices=CLASSIFY_AUGMENTATIONS,
    )

    precise_stats: int | None = config_field(
        None,
        "recompute the running statistics of msn and bn over N training batches before each test; 0: use the running "
        f"averages of training (default: {_PRECISE_STATS} for {' and '.join(_DEEP)}, else 0)",
        low=0,
    )

    precision: str = config_field("auto", "bf16 autocast or fp32; auto is bf16 where it is faster", choices=PRECISIONS)
    deterministic: bool = config_field(False, "bit-identical runs on CUDA too; slower")

    dynamics: int = dynamics_field()

    def _contradictions(self) -> list[str]:
        problems = [f"--{name}: is empty; give at least one" for name in ("norms", "lr") if not getattr(self, name)]
        problems += folder_name_clashes(self.norms)
        critics = [norm for norm in self.norms if parse_norm(norm).critic]
        problems += [f"--norms {norm}: a critic normalizes a GAN's discriminator, not a classifier" for norm in critics]
        problems += [f"--lr {rate}: must be above 0" for rate in self.lr if rate <= 0]
        if self.generated is None:
            given = {"--num": self.num, "--network": self.network}
            problems += [
                f"{flag} {value}: is for the generator of --generated; give that too"
                for flag, value in given.items()
                if value is not None
            ]
        return problems

    def _fixed_fields(self, other: ClassifyConfig) -> list[str]:
        """See `Config._fixed_fields`: another path of the same checkpoint is allowed, real images instead are not."""
        is_other_kind = (self.generated is None) != (other.generated is None)
        return [*super()._fixed_fields(other), *(["generated"] if is_other_kind else [])]

    def resolved(self, precision: str) -> ClassifyConfig:
        """Return a copy with every `auto` and every default that depends on the data resolved.

        Raises:
            UsageError: the classifier is too deep for the resolution, or for the statistics of a norm.
        """
        from gan.models.classifiers import require_large_enough, require_statistics  # loads torch

        require_large_enough(self.model, self.resolution)
        require_statistics(self.model, self.norms, self.resolution, self.batch)
        channels = self.channels or (1 if self.data in _GREY else 3)
        augment = "none" if channels == 1 else "crop" if self.data in _NOT_MIRRORED else "crop-flip"
        return dataclasses.replace(
            self,
            norms=tuple(dict.fromkeys(self.norms)),
            lr=tuple(dict.fromkeys(self.lr)),
            channels=channels,
            decay={"adam": "none", "sgd": "cosine"}[self.optimizer] if self.decay == "auto" else self.decay,
            augment=augment if self.augment == "auto" else self.augment,
            precise_stats=self._precise_stats(),
            precision=precision,
        )

    def _precise_stats(self) -> int:
        if self.precise_stats is not None:
            return self.precise_stats
        return _PRECISE_STATS if self.model in _DEEP else 0

    @classmethod
    def from_file(cls, values: Mapping[str, Any]) -> ClassifyConfig:
        """The config of an existing run; one of an older version has no `precise_stats` and took none."""
        return cls.from_dict({"precise_stats": 0, **values})

    def trainings(self) -> Iterator[ClassifyTraining]:
        """Yield all trainings, one seed after another, so that a stopped experiment has results of every norm."""
        for seed in range(self.seeds):
            for lr in self.lr:
                for norm in self.norms:
                    yield ClassifyTraining(norm, lr, seed)

    @property
    def planned(self) -> int:
        """Number of all trainings."""
        return len(self.norms) * len(self.lr) * self.seeds

    def merge(self, other: ClassifyConfig) -> ClassifyConfig:
        """Return this configuration with the norms, learning rates and seeds of another added, the other's first."""
        return dataclasses.replace(
            self,
            norms=tuple(dict.fromkeys((*other.norms, *self.norms))),
            lr=tuple(dict.fromkeys((*other.lr, *self.lr))),
            seeds=max(self.seeds, other.seeds),
        )
