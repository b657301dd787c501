"""The settings of a classifier experiment: which trainings it is made of, and what they all have in common."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from gan.config.base import Config, config_field, dynamics_field
from gan.models.classifiers import CLASSIFIERS, require_large_enough, require_statistics
from gan.norm import NORMS
from gan.runtime import PRECISIONS

CLASSIFY_AUGMENTATIONS = ("auto", "none", "crop", "crop-flip")
_GREY = ("digits", "mnist", "fashion-mnist")
_NOT_MIRRORED = ("svhn",)  # a mirrored digit is no digit


class ClassifyTraining(NamedTuple):
    """One of the trainings of an experiment."""

    norm: str
    lr: float
    seed: int

    @property
    def name(self) -> str:
        """What its folder is called."""
        return f"{self.norm}-lr{self.lr!r}-seed{self.seed}"

    def __str__(self) -> str:
        return f"{self.norm}, lr {self.lr!r}, seed {self.seed}"


def classify_command(name: str, config: ClassifyConfig) -> str:
    """The command that makes an experiment anew, or goes on with it.

    Args:
        config: resolved settings.
    """
    return shlex.join(["msn-gan", "classify", name, *config.flags(ClassifyConfig())])


@dataclass(frozen=True)
class ClassifyConfig(Config):
    """Everything that decides how the trainings of an experiment go, but for the machine that they run on.

    Raises:
        UsageError: one message with a line for each problem, by flag, value and choices.
    """

    model: str = config_field("vgg7", "the classifier", choices=tuple(CLASSIFIERS))
    norms: tuple[str, ...] = config_field(
        ("none", "bn", "mean", "sn", "msn"), "normalizations, with commas between them", choices=tuple(NORMS), free=True
    )
    lr: tuple[float, ...] = config_field((0.001,), "learning rates, with commas between them", free=True)
    seeds: int = config_field(1, "how many times each is trained: with seeds 0, 1, ...", low=1, free=True)

    data: str = config_field("digits", "a dataset's name, or the path of a folder or zip of images", free=True)
    test_data: str | None = config_field(
        None, "the images that are tested on (default: the test split of --data; a fifth of the digits)", free=True
    )
    data_root: str = config_field("data", "where named datasets are downloaded to", free=True)
    resolution: int = config_field(32, "side of the square images, in pixels; others are resized", low=8)
    channels: int | None = config_field(
        None, "colour channels (default: 1 for digits, mnist and fashion-mnist, else 3)", choices=(1, 3)
    )
    limit: int | None = config_field(None, "train on this many images, as many of each class (default: all)", low=2)
    skip_bad_images: bool = config_field(False, "go on without the images that cannot be read", free=True)

    epochs: int = config_field(30, "times that every training image is seen", low=1)
    batch: int = config_field(128, "images in one update", low=1)
    optimizer: str = config_field("adam", "Adam, or SGD with momentum 0.9", choices=("adam", "sgd"))
    weight_decay: float = config_field(0.0, "L2 penalty of the optimizer (5e-4 is usual with sgd)", low=0)
    decay: str = config_field(
        "auto",
        "learning rate: constant (auto for adam), or along a cosine to 0 (auto for sgd)",
        choices=("auto", "none", "cosine"),
    )
    augment: str = config_field(
        "auto",
        "shift training images by up to 4 pixels, and mirror half (auto: both for colour images, svhn only shifted)",
        choices=CLASSIFY_AUGMENTATIONS,
    )

    precision: str = config_field("auto", "bf16 autocast or fp32; auto is bf16 where it is faster", choices=PRECISIONS)
    deterministic: bool = config_field(False, "the same bytes on every run on CUDA too, at some cost")

    dynamics: int = dynamics_field()

    def _contradictions(self) -> list[str]:
        found = [f"--{name}: is empty; give at least one" for name in ("norms", "lr") if not getattr(self, name)]
        found += [f"--lr {rate}: must be above 0" for rate in self.lr if rate <= 0]
        return found

    def resolved(self, precision: str) -> ClassifyConfig:
        """The same with every `auto` and every default that depends on the data replaced by what it means.

        Raises:
            UsageError: the classifier is too deep for the resolution, or for what a norm needs of it.
        """
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
            precision=precision,
        )

    def trainings(self) -> Iterator[ClassifyTraining]:
        """All trainings, those of the first seed first, so that a stopped experiment has something of each norm."""
        for seed in range(self.seeds):
            for lr in self.lr:
                for norm in self.norms:
                    yield ClassifyTraining(norm, lr, seed)

    def merge(self, other: ClassifyConfig) -> ClassifyConfig:
        """These settings with the norms, rates and seeds of another too."""
        return dataclasses.replace(
            self,
            norms=tuple(dict.fromkeys((*other.norms, *self.norms))),
            lr=tuple(dict.fromkeys((*other.lr, *self.lr))),
            seeds=max(self.seeds, other.seeds),
        )
