"""The settings of a training run: one frozen dataclass, the presets, and files of settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gan.config.base import Config, config_field, dynamics_field
from gan.nn.diff_augment import AUGMENTATIONS
from gan.nn.losses import LOSSES
from gan.norm import NORMS
from gan.runtime import PRECISIONS

NETWORKS = ("dcgan", "sngan-cnn", "resnet")
RESOLUTIONS = (32, 48, 64, 128)


@dataclass(frozen=True)
class TrainConfig(Config):
    """Everything that decides how a run goes, but for the machine that it runs on.

    Raises:
        UsageError: one message with a line for each problem, by flag, value and choices.
    """

    preset: str = config_field("quickstart", "the recipe that these settings started from", free=True)

    data: str = config_field("digits", "a dataset's name, or the path of a folder or zip of images", free=True)
    data_root: str = config_field("data", "where named datasets are downloaded to", free=True)
    resolution: int = config_field(32, "side of the square images, in pixels", choices=RESOLUTIONS)
    channels: int = config_field(3, "colour channels", choices=(1, 3))
    conditional: bool = config_field(False, "learn classes: conditional batch norm in G, projection in D")
    flip: bool = config_field(False, "mirror half of the training images")
    augment: tuple[str, ...] = config_field(
        (), "random changes through which D sees all images (DiffAugment), in order", choices=tuple(AUGMENTATIONS)
    )
    skip_bad_images: bool = config_field(False, "go on without the images that cannot be read", free=True)

    network: str = config_field("dcgan", "family of the generator and discriminator", choices=NETWORKS)
    latent_dim: int = config_field(128, "length of the latent vector", low=1)
    g_width: int | None = config_field(None, "generator width (default: as published for the network)", low=1)
    d_width: int | None = config_field(None, "discriminator width (default: as published)", low=1)
    norm: str = config_field("msn", "normalization of the discriminator", choices=tuple(NORMS))
    norm_layers: tuple[int, ...] | None = config_field(
        None, "hidden convolutions (from 1, as 4,6,7) that get the norm in full; the others what an output layer gets"
    )

    loss: str = config_field("hinge", "GAN loss", choices=tuple(LOSSES))
    r1: float = config_field(0.0, "weight γ of the R1 penalty, γ/2 E|∇D(real)|²", low=0)
    r2: float = config_field(0.0, "weight γ of the R2 penalty, γ/2 E|∇D(fake)|²", low=0)
    gradient_penalty: float = config_field(0.0, "weight λ of the WGAN-GP penalty (10 is usual)", low=0)
    penalty_every: int = config_field(1, "compute penalties in every Nth update of D, with N times the weight", low=1)

    steps: int = config_field(2000, "generator updates", low=1)
    batch: int = config_field(64, "images of each kind in one update", low=1)
    accumulate: int = config_field(1, "parts that a batch is split into, to save memory", low=1)
    n_dis: int = config_field(1, "discriminator updates for each generator update", low=1)
    d_batch: str = config_field(
        "separate", "whether D sees real and fake images as two batches or one", choices=("separate", "joint")
    )
    g_lr: float = config_field(2e-4, "Adam's learning rate for G", low=0)
    d_lr: float = config_field(2e-4, "Adam's learning rate for D", low=0)
    beta1: float = config_field(0.5, "Adam's β1", low=0)
    beta2: float = config_field(0.999, "Adam's β2", low=0)
    decay: str = config_field("none", "learning-rate schedule: constant, or linearly to 0", choices=("none", "linear"))
    ema_half_life: float = config_field(
        10_000.0, "half-life of G's moving average, in images; 0 is no averaging", low=0
    )
    ema_rampup: float = config_field(0.05, "the half-life is at most this share of the images seen", low=0)

    seed: int = config_field(0, "seed of weights, data order and latents", low=0)
    precision: str = config_field("auto", "bf16 autocast or fp32; auto is bf16 where it is faster", choices=PRECISIONS)
    deterministic: bool = config_field(False, "the same bytes on every run on CUDA too, at some cost")

    log_every: int = config_field(50, "steps between lines of log.jsonl", low=1, free=True)
    sample_every: int = config_field(500, "steps between sample grids", low=1, free=True)
    checkpoint_every: int = config_field(1000, "steps between checkpoints", low=1, free=True)
    keep: int = config_field(3, "newest checkpoints to keep", low=1, free=True)

    dynamics: int = dynamics_field()

    report_every: int = config_field(0, "steps between scores of the averaged generator; 0 is never", low=0, free=True)
    report_num: int = config_field(10_000, "images that a score is made of", low=10, free=True)
    report_features: str = config_field(
        "auto",
        "network of the scores: inception, digits or classifier:CHECKPOINT; auto: what suits the data",
        free=True,
    )

    def _contradictions(self) -> list[str]:
        found = []
        if self.batch % self.accumulate:
            found.append(f"--accumulate {self.accumulate} does not divide --batch {self.batch}")
        if self.beta1 >= 1 or self.beta2 >= 1:
            found.append(f"--beta1 {self.beta1} and --beta2 {self.beta2} must be below 1")
        if self.norm_layers is not None and min(self.norm_layers, default=0) < 1:
            found.append(f"--norm-layers {','.join(map(str, self.norm_layers))} must be numbers from 1")
        if self.loss == "relativistic" and self.gradient_penalty:
            found.append("--gradient-penalty belongs to --loss wgan; with --loss relativistic use --r1 and --r2")
        if self.penalty_every > 1 and not (self.r1 or self.r2 or self.gradient_penalty):
            found.append(f"--penalty-every {self.penalty_every} needs a penalty: --r1, --r2 or --gradient-penalty")
        return found

    def _decisive(self, other: Any) -> list[str]:
        names = super()._decisive(other)
        if self.decay == other.decay == "none":
            names.remove("steps")  # a longer run begins as the shorter one did, unless the schedule depends on it
        return names
