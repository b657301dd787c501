"""The configs that --preset names."""

import dataclasses

from gan.config.train_config import TrainConfig
from gan.errors import UsageError

# Found by trials of about a minute: docs/results/presets.md. The EMA half-life is 5 % of the images seen.
_QUICKSTART = TrainConfig(
    channels=1,
    g_width=16,
    d_width=8,
    steps=1000,
    g_lr=6e-4,
    d_lr=6e-4,
    sample_every=250,
    checkpoint_every=500,
    report_every=1000,
    report_num=2000,
)


_PUBLISHED_DCGAN = TrainConfig(
    preset="msn-dcgan",
    data="cifar10",
    loss="logistic",
    steps=312_800,
    sample_every=1000,
    checkpoint_every=5000,
)


_PUBLISHED_RESNET = TrainConfig(
    preset="sngan-resnet",
    data="cifar10",
    network="resnet",
    norm="sn",
    steps=100_000,
    n_dis=5,
    beta1=0.0,
    beta2=0.9,
    decay="linear",
    sample_every=500,
    checkpoint_every=1000,
)


# Found by trials of a few CPU minutes: docs/results/presets.md.
_BEST = dataclasses.replace(
    _PUBLISHED_RESNET,
    preset="best",
    flip=True,
    g_width=32,
    d_width=32,
    steps=20_000,
    batch=16,
    n_dis=1,
    g_lr=5e-4,
    d_lr=5e-4,
    decay="none",
)
# With SN, D falls to chance at 64 pixels, and G learns nothing from it.
_BEST_64 = dataclasses.replace(
    _BEST,
    preset="best-64",
    data="",
    resolution=64,
    norm="none",
    r1=1.0,
    penalty_every=4,
    g_lr=2e-4,
    d_lr=2e-4,
    beta2=0.99,
)


# brownvc/R3GAN, train.py: CIFAR10, FFHQ-64 and FFHQ-256. Trained for as many images as its schedules have.
_R3GAN = TrainConfig(
    preset="r3gan",
    data="cifar10",
    conditional=True,
    network="r3gan",
    latent_dim=64,
    norm="none",
    loss="relativistic",
    flip=True,
    batch=512,
    steps=40_000,
    r1=0.05,
    r1_end=0.005,
    r2=0.05,
    r2_end=0.005,
    g_lr=2e-4,
    g_lr_end=5e-5,
    d_lr=2e-4,
    d_lr_end=5e-5,
    beta1=0.0,
    beta2=0.9,
    beta2_end=0.99,
    ema_half_life=0.0,
    ema_half_life_end=5e6,
    augment=("ada-r3gan",),
    augment_p=0.0,
    augment_p_end=0.55,
    schedule_images=20_000_000,
    sample_every=500,
    checkpoint_every=1000,
)
_R3GAN_64 = dataclasses.replace(
    _R3GAN,
    preset="r3gan-64",
    data="",
    conditional=False,
    resolution=64,
    batch=256,
    steps=80_000,
    r1=2.0,
    r1_end=0.2,
    r2=2.0,
    r2_end=0.2,
    ema_half_life_end=5e5,
    augment_p_end=0.3,
)


# For a CPU: narrow, with small batches, penalties in every fourth update and settings that do not change.
_R3GAN_NARROW = TrainConfig(
    preset="r3gan-narrow",
    data="cifar10",
    network="r3gan",
    latent_dim=64,
    g_width=48,
    d_width=48,
    norm="none",
    loss="relativistic",
    flip=True,
    batch=16,
    steps=20_000,
    r1=0.05,
    r2=0.05,
    penalty_every=4,
    g_lr=5e-4,
    d_lr=5e-4,
    beta1=0.0,
    beta2=0.9,
    sample_every=500,
    checkpoint_every=1000,
)


PRESETS: dict[str, TrainConfig] = {
    "quickstart": _QUICKSTART,
    "msn-dcgan": _PUBLISHED_DCGAN,
    "sngan-dcgan": dataclasses.replace(
        _PUBLISHED_DCGAN, preset="sngan-dcgan", network="sngan-cnn", norm="sn", loss="hinge", steps=100_000
    ),
    "sngan-resnet": _PUBLISHED_RESNET,
    "sngan-resnet-stl10": dataclasses.replace(
        _PUBLISHED_RESNET, preset="sngan-resnet-stl10", data="stl10", resolution=48
    ),
    "resnet-64": dataclasses.replace(_PUBLISHED_RESNET, preset="resnet-64", data="", resolution=64),
    "resnet-128": dataclasses.replace(_PUBLISHED_RESNET, preset="resnet-128", data="", resolution=128),
    "resnet-256": dataclasses.replace(_PUBLISHED_RESNET, preset="resnet-256", data="", resolution=256),
    "sngan-projection": dataclasses.replace(_PUBLISHED_RESNET, preset="sngan-projection", conditional=True),
    "best": _BEST,
    "best-64": _BEST_64,
    "best-128": dataclasses.replace(_BEST_64, preset="best-128", resolution=128, g_width=16, d_width=16),
    "r3gan": _R3GAN,
    "r3gan-narrow": _R3GAN_NARROW,
    "r3gan-64": _R3GAN_64,
    "r3gan-256": dataclasses.replace(
        _R3GAN_64, preset="r3gan-256", resolution=256, r1=150.0, r1_end=15.0, r2=150.0, r2_end=15.0
    ),
}


def preset_config(name: str) -> TrainConfig:
    """The config of a preset; a UsageError, which lists all presets, if there is no such preset."""
    if not isinstance(name, str) or name not in PRESETS:
        raise UsageError(f"--preset {name}: choose from {', '.join(PRESETS)}")
    return PRESETS[name]
