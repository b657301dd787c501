"""The config of a GAN training run."""

import math
from dataclasses import dataclass
from typing import Any

from gan.config.base import Config, config_field, dynamics_field, flag_name
from gan.config.choices import AUGMENTATIONS, FEATURES, LOSSES, METRICS, NETWORKS, NORMS, PRECISIONS, RESOLUTIONS
from gan.config.plugins import OwnCode

# Fields with an end, NAME_end, which they reach after `schedule_images` images.
SCHEDULED = ("g_lr", "d_lr", "beta2", "r1", "r2", "ema_half_life", "augment_p")
PENALTIES = ("r1", "r2", "gradient_penalty")


def _end(name: str) -> Any:
    return config_field(None, f"the value of {flag_name(name)} after --schedule-images (default: constant)", low=0)


@dataclass(frozen=True)
class TrainConfig(Config):
    """Everything that determines a run, except the device that it runs on; validated as `Config` says."""

    preset: str = config_field("quickstart", "the preset that the config is based on", free=True)

    data: str = config_field("digits", "name of a dataset, or path of a folder, zip or npz of images", free=True)
    data_root: str = config_field("data", "folder that named datasets are downloaded to", free=True)
    resolution: int = config_field(32, "height and width of the images, in pixels", low=8)
    channels: int = config_field(3, "colour channels", choices=(1, 3))
    conditional: bool = config_field(False, "class-conditional GAN: conditional batch norm in G, projection in D")
    flip: bool = config_field(False, "mirror training images horizontally with probability 0.5")
    augment: tuple[str, ...] = config_field(
        (),
        "differentiable augmentations (DiffAugment) of all images that D gets, in order",
        choices=AUGMENTATIONS,
    )
    augment_p: float = config_field(1.0, "probability with which each augmentation is applied to an image", low=0)
    augment_p_end: float | None = _end("augment_p")
    ada_target: float | None = config_field(
        None,
        "adapt the augmentation probability, from 0, to keep r_t at this value (0.6 is usual): the mean sign of "
        "D(real), or of D(real) - D(fake) for relativistic, wgan and lsgan",
        low=0,
    )
    ada_images: int = config_field(500_000, "real images in which --ada-target can raise p from 0 to 1", low=1)
    skip_bad_images: bool = config_field(False, "skip images that cannot be read", free=True)

    network: str = config_field("dcgan", "architecture of the generator and discriminator", choices=NETWORKS)
    latent_dim: int = config_field(128, "dimension of the latent vector", low=1)
    g_width: int | None = config_field(None, "generator width (default: as published for the network)", low=1)
    d_width: int | None = config_field(None, "discriminator width (default: as published)", low=1)
    norm: str = config_field(
        "msn",
        "normalization of the discriminator: names joined by +, as sn+mean, with options, as sn(gain=2)",
        choices=NORMS,
    )
    norm_layers: tuple[int, ...] | None = config_field(
        None, "hidden convolutions (from 1, such as 4,6,7) with the full norm; the others get that of an output layer"
    )

    freeze_d: int = config_field(0, "number of D's first blocks, nearest the image, to freeze", low=0)

    loss: str = config_field("hinge", "GAN loss", choices=LOSSES)
    r1: float = config_field(0.0, "weight γ of the R1 penalty, γ/2 E|∇D(real)|²", low=0)
    r2: float = config_field(0.0, "weight γ of the R2 penalty, γ/2 E|∇D(fake)|²", low=0)
    r1_end: float | None = _end("r1")
    r2_end: float | None = _end("r2")
    gradient_penalty: float = config_field(0.0, "weight λ of the WGAN-GP penalty (10 is usual)", low=0)
    penalty_every: int = config_field(1, "penalties in every Nth update of D only, with N times the weight", low=1)

    steps: int = config_field(2000, "generator updates", low=1)
    batch: int = config_field(64, "batch size: real images, and generated ones, of one update", low=1)
    accumulate: int = config_field(1, "parts of a batch whose gradients are accumulated, to save memory", low=1)
    n_dis: int = config_field(1, "discriminator updates for each generator update", low=1)
    d_batch: str = config_field(
        "separate", "pass real and fake images through D as two batches or as one", choices=("separate", "joint")
    )
    g_fakes: str = config_field(
        "auto",
        "generated images of G's update: those of D's last update, or new ones; auto: reused with --n-dis 1 and --loss "
        "hinge or logistic",
        choices=("auto", "reused", "new"),
    )
    g_lr: float = config_field(2e-4, "Adam's learning rate for G", low=0)
    d_lr: float = config_field(2e-4, "Adam's learning rate for D", low=0)
    beta1: float = config_field(0.5, "Adam's β1", low=0)
    beta2: float = config_field(0.999, "Adam's β2", low=0)
    g_lr_end: float | None = _end("g_lr")
    d_lr_end: float | None = _end("d_lr")
    beta2_end: float | None = _end("beta2")
    schedule_images: int | None = config_field(
        None, "images over which all values with an end change, along half a cosine; constant from then on", low=1
    )
    decay: str = config_field("none", "learning-rate schedule: constant, or linearly to 0", choices=("none", "linear"))
    ema_half_life: float = config_field(10_000.0, "half-life of the EMA generator, in images; 0: no averaging", low=0)
    ema_half_life_end: float | None = _end("ema_half_life")
    ema_rampup: float = config_field(
        0.05, "bound of the EMA half-life, as a fraction of the images seen; unused with --ema-half-life-end", low=0
    )

    seed: int = config_field(0, "seed of weights, data order and latents", low=0)
    precision: str = config_field("auto", "bf16 autocast or fp32; auto: bf16 where it is faster", choices=PRECISIONS)
    deterministic: bool = config_field(False, "the same bytes on every run also on CUDA, at some cost of speed")

    log_every: int = config_field(50, "steps between lines of log.jsonl", low=1, free=True)
    sample_every: int = config_field(500, "steps between sample grids", low=1, free=True)
    checkpoint_every: int = config_field(1000, "steps between checkpoints", low=1, free=True)
    keep: int = config_field(3, "number of newest checkpoints to keep", low=1, free=True)

    dynamics: int = dynamics_field()

    report_every: int = config_field(0, "steps between scores of the EMA generator; 0: never", low=0, free=True)
    report_num: int = config_field(10_000, "generated images for a score", low=10, free=True)
    report_repeats: int = config_field(
        1, "draws of latents from each of which the FID of the last step is computed", low=1, free=True
    )
    report_metrics: tuple[str, ...] = config_field(
        (),
        "metrics of these scores, fid among them (default: fid,is; of a comparison fid,is,kid,pr)",
        choices=METRICS,
        free=True,
    )
    features: str = config_field(
        "auto",
        "feature extractor of the scores: inception, digits, classifier:FILE, dinov2, dinov2:s, :b or :g, or clip; "
        "auto: digits for --data digits, else inception",
        choices=FEATURES,
        free=True,
        key="report_features",
    )

    def _contradictions(self) -> list[str]:
        problems = []
        if self.resolution not in RESOLUTIONS.get(self.network, (self.resolution,)):
            sizes = ", ".join(map(str, RESOLUTIONS[self.network]))
            problems.append(f"--resolution {self.resolution}: choose from {sizes} for --network {self.network}")
        if self.batch % self.accumulate:
            problems.append(f"--accumulate {self.accumulate} does not divide --batch {self.batch}")
        if self.beta1 >= 1 or self.beta2 >= 1:
            problems.append(f"--beta1 {self.beta1} and --beta2 {self.beta2} must be below 1")
        problems += self._schedule_problems()
        if self.norm_layers is not None and min(self.norm_layers, default=0) < 1:
            problems.append(f"--norm-layers {','.join(map(str, self.norm_layers))} must be numbers from 1")
        if self.loss == "relativistic" and self.gradient_penalty:
            problems.append("--gradient-penalty belongs to --loss wgan; with --loss relativistic use --r1 and --r2")
        if self.g_fakes == "reused" and self.n_dis > 1:
            problems.append(f"--g-fakes reused: needs --n-dis 1, not {self.n_dis}")
        if self.report_metrics and "fid" not in self.report_metrics:
            problems.append(f"--report-metrics {','.join(self.report_metrics)}: add fid, which decides the best step")
        if self.penalty_every > 1 and not self.penalties():
            problems.append(f"--penalty-every {self.penalty_every} needs a penalty: --r1, --r2 or --gradient-penalty")
        return problems

    def _schedule_problems(self) -> list[str]:
        problems = []
        if self.beta2_end is not None and self.beta2_end >= 1:
            problems.append(f"--beta2-end {self.beta2_end}: must be below 1")
        for name, value in (("augment_p", self.augment_p), ("augment_p_end", self.augment_p_end)):
            if value is not None and value > 1:
                problems.append(f"{flag_name(name)} {value}: is a probability, at most 1")
        if self.gates_augmentations() and not self.augment:
            problems.append("--augment-p, --augment-p-end and --ada-target need --augment")
        if self.ada_target is not None:
            if self.ada_target > 1:
                problems.append(f"--ada-target {self.ada_target}: is a mean of signs, at most 1")
            if self.augment_p != 1 or self.augment_p_end is not None:
                problems.append("--ada-target: decides --augment-p; leave out that and --augment-p-end")
        ends = [flag_name(f"{name}_end") for name in SCHEDULED if getattr(self, f"{name}_end") is not None]
        if ends and self.schedule_images is None:
            problems.append(f"{', '.join(ends)}: needs --schedule-images N, the number of images to reach it")
        if self.schedule_images is not None and not ends:
            choices = ", ".join(flag_name(f"{name}_end") for name in SCHEDULED)
            problems.append(f"--schedule-images {self.schedule_images}: nothing is scheduled; give one of {choices}")
        if self.decay != "none" and (rates := [flag for flag in ends if flag in ("--g-lr-end", "--d-lr-end")]):
            problems.append(
                f"--decay {self.decay} and {', '.join(rates)} schedule the same rate; leave out one of them"
            )
        return problems

    def schedules(self) -> dict[str, tuple[float, float]]:
        """First and last value of the fields that change over `schedule_images`."""
        pairs = {name: (getattr(self, name), getattr(self, f"{name}_end")) for name in SCHEDULED}
        return {name: (start, end) for name, (start, end) in pairs.items() if end is not None}

    def penalties(self) -> list[str]:
        """The penalties whose weight is above 0 at some time, of r1, r2 and gradient_penalty."""
        schedules = self.schedules()
        return [name for name in PENALTIES if max(schedules.get(name, (getattr(self, name),))) > 0]

    def penalty_cycle(self) -> int:
        """Number of steps after which the updates of D with a penalty repeat."""
        return self.penalty_every // math.gcd(self.penalty_every, self.n_dis)

    def reuses_fakes(self) -> bool:
        """True if G is updated on the images that D was just updated on, as DCGAN does."""
        if self.g_fakes == "auto":
            return self.n_dis == 1 and self.loss in ("hinge", "logistic")
        return self.g_fakes == "reused"

    def gates_augmentations(self) -> bool:
        """True if augmentations are applied with a probability below 1 at some step."""
        return self.augment_p != 1 or self.augment_p_end is not None or self.ada_target is not None

    def own_code(self) -> list[OwnCode]:
        """See `Config.own_code`; the feature extractor counts only if the run is scored."""
        return [code for code in super().own_code() if code.flag != "--features" or self.report_every]

    def _fixed_fields(self, other: Any) -> list[str]:
        names = super()._fixed_fields(other)
        if self.decay == other.decay == "none":
            names.remove("steps")  # the steps of a longer run are the same, unless the schedule depends on the number
        return names
